package quiesce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Journal is a folder with one small file for each freeze that is going on, or
// that nobody ended. A file is on disk before its freeze begins and is removed
// after the thaw was verified. While it is locked, the process that wrote it, or
// the guard after that, is taking care.
type Journal struct{ dir string }

// Entry is one freeze.
type Entry struct {
	Version int       `json:"version"` // of this form
	Machine string    `json:"machine"` // its name, for people
	Reach   Reach     `json:"reach"`
	Time    time.Time `json:"time"` // when it began
	PID     int       `json:"pid"`  // of the process that froze
}

const (
	entryVersion = 1
	entrySuffix  = ".freeze"
	maxEntry     = 64 << 10 // bytes of one file that are read
)

// OpenJournal returns the journal in a folder, which is made where it is missing.
func OpenJournal(dir string) (*Journal, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("journal of freezes: %w", err)
	}
	return &Journal{dir}, nil
}

// record is the locked file of a freeze.
type record struct {
	f    *os.File
	path string
}

// begin puts an entry on disk.
func (j *Journal) begin(e Entry) (_ *record, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("note the freeze in %s: %w", j.dir, err)
		}
	}()
	text, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(j.dir, ".new-")
	if err != nil {
		return nil, err
	}
	r := &record{f, filepath.Join(j.dir, e.Time.UTC().Format("20060102-150405-")+filepath.Base(f.Name())[len(".new-"):]+entrySuffix)}
	if err := r.write(text); err != nil {
		os.Remove(f.Name())
		return nil, errors.Join(err, f.Close())
	}
	if err := syncFolder(j.dir); err != nil {
		return nil, errors.Join(err, r.done())
	}
	return r, nil
}

// write locks before the name is there, so that nobody takes the entry for a leftover.
func (r *record) write(text []byte) error {
	if err := unix.Flock(int(r.f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if _, err := r.f.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	return os.Rename(r.f.Name(), r.path)
}

// done removes the entry: the thaw was verified.
func (r *record) done() error {
	err := os.Remove(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, r.f.Close())
}

// leave keeps the entry for others.
func (r *record) leave() error { return r.f.Close() }

// errHeld says that somebody takes care of an entry.
var errHeld = errors.New("held")

// take opens and locks an entry that somebody left. The error is errHeld where its
// process or its guard lives, and fs.ErrNotExist where it was removed meanwhile.
func take(path string) (*record, Entry, error) {
	var e Entry
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, e, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxEntry))
	if err == nil {
		err = parseEntry(text, &e)
	}
	if err == nil {
		if lock := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(lock, unix.EWOULDBLOCK) {
			err = errHeld
		} else {
			err = lock
		}
	}
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		f.Close()
		return nil, e, err
	}
	return &record{f, path}, e, nil
}

func parseEntry(text []byte, e *Entry) error {
	if err := json.Unmarshal(text, e); err != nil {
		return fmt.Errorf("not the note of a freeze: %w", err)
	}
	if e.Version != entryVersion {
		return fmt.Errorf("note of a freeze in version %d, which this program does not know", e.Version)
	}
	_, err := e.Reach.settled()
	return err
}

// entries lists the files of a journal; none where there is no folder.
func entries(dir string) ([]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("journal of freezes: %w", err)
	}
	var paths []string
	for _, f := range list {
		if strings.HasSuffix(f.Name(), entrySuffix) && !strings.HasPrefix(f.Name(), ".") {
			paths = append(paths, filepath.Join(dir, f.Name()))
		}
	}
	return paths, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
