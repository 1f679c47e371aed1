package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stampFile names, in an index's folder, the folder that it was written in.
const stampFile = "HERE"

// ErrCopied reports an index that was copied here. Its files may be of
// different moments, so nothing in it is believed.
var ErrCopied = errors.New("it was copied from elsewhere, or is not whole")

// stamp tells whether an index was written in the folder where it is now, and
// marks one that is new. A copy has another inode.
func stamp(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) == 0 {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, stampFile), here(dir), 0o600)
	}
	for _, e := range entries { // Badger writes where a link leads
		if !e.Type().IsRegular() {
			return fmt.Errorf("%w: %.100q is no file", ErrDamaged, e.Name())
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if string(b) != string(here(dir)) {
		return ErrCopied
	}
	return nil
}

// here names a folder by its inode and, where the file system knows, the
// moment it was made: both outlive a move of the folder or of its disk.
func here(dir string) []byte {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		return []byte("unknown\n")
	}
	return fmt.Appendf(nil, "inode %d born %d.%09d\n", st.Ino, st.Btime.Sec, st.Btime.Nsec)
}
