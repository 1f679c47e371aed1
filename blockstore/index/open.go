package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// ErrDamaged reports an index that is to be made anew.
var ErrDamaged = errors.New("damaged index")

// openingFile counts, by its length, openings that did not end: Badger ends the
// process over some kinds of damage, in goroutines of its own.
const openingFile = "OPENING"

// maxOpenings is how many of those there may be before the index is taken for
// damaged. One may have been ended from outside.
const maxOpenings = 2

// beginOpening notes that the index is about to be opened.
func beginOpening(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, openingFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() >= maxOpenings {
		return fmt.Errorf("%w: the process ended %d times while it was opened", ErrDamaged, st.Size())
	}
	_, err = f.Write([]byte{'o'})
	return err
}

// endOpening notes that opening it ended, well or with an error.
func endOpening(dir string) error {
	err := os.Remove(filepath.Join(dir, openingFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkTables finds tables that do not end as Badger's tables do, which it
// would follow out of their bounds: ... index, its length, checksum, its length (big-endian).
func checkTables(dir string) error {
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return err
	}
	named := namedTables(dir)
	for _, name := range tables {
		if n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".sst"), 10, 64); err == nil && named != nil && !named[n] {
			continue // it was being written when its process ended: Badger removes it
		}
		if err := checkTable(name); err != nil {
			return fmt.Errorf("%w: table %s: %w", ErrDamaged, filepath.Base(name), err)
		}
	}
	return nil
}

// namedTables are the tables that Badger's manifest names; nil: it cannot be told.
func namedTables(dir string) map[uint64]bool {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return nil
	}
	named := map[uint64]bool{}
	for id := range m.Tables {
		named[id] = true
	}
	return named
}

func checkTable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	at := st.Size()
	// length reads the length that ends at the current place, of what lies before it.
	length := func() (int64, error) {
		var b [4]byte
		if at -= int64(len(b)); at < 0 {
			return 0, errors.New("it is too short")
		}
		if _, err := f.ReadAt(b[:], at); err != nil {
			return 0, err
		}
		return int64(binary.BigEndian.Uint32(b[:])), nil
	}
	for range 2 { // the checksum, then the index
		n, err := length()
		if err != nil {
			return err
		}
		if at -= n; at < 0 || n == 0 {
			return fmt.Errorf("it says %d bytes where there are %d", n, at+n)
		}
	}
	return nil
}
