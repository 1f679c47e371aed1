package restore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// tempFile is a file being written beside its final name.
type tempFile struct {
	*os.File
	final string
	opt   fileOptions
	state fileState

	// writing is held by who writes. The kernel lets one write at a time into a file
	// and would keep the others' processors waiting; here another worker decodes meanwhile.
	writing sync.Mutex
}

type fileState uint8

const (
	fileOpen fileState = iota
	fileDone           // renamed
	fileGone           // removed
)

// fileOptions are what Options says of files.
type fileOptions struct {
	force bool
	mode  os.FileMode
	owner *Owner
}

// createTemp makes an empty hidden file of the given size in the folder of final.
func createTemp(final string, size int64, opt fileOptions) (*tempFile, error) {
	var random [6]byte
	rand.Read(random[:]) // never fails
	folder, name := filepath.Split(final)
	temp := folder + hiddenName(name, hex.EncodeToString(random[:]))
	f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file beside %s: %w", final, err)
	}
	t := &tempFile{File: f, final: final, opt: opt}
	if err := claim(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("keep the file beside %s: %w", final, err)
	}
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("make room for %d bytes (does the file system take files of that size?): %w", size, err), t.Abort())
	}
	return t, nil
}

// WriteAt writes p into the file.
func (t *tempFile) WriteAt(p []byte, off int64) (int, error) {
	t.writing.Lock()
	defer t.writing.Unlock()
	return t.File.WriteAt(p, off)
}

// Blank is true: the file is new.
func (t *tempFile) Blank() bool { return true }

// Zero does nothing: the file is new and this part of it was never written.
func (t *tempFile) Zero(off, length int64) error { return nil }

// Sync gives the file its owner and permissions and makes it durable.
func (t *tempFile) Sync() error {
	if o := t.opt.owner; o != nil && (o.UID >= 0 || o.GID >= 0) {
		if err := t.Chown(o.UID, o.GID); err != nil {
			return fmt.Errorf("give %s to user %d, group %d: %w", t.final, o.UID, o.GID, err)
		}
	}
	if err := t.Chmod(t.opt.mode); err != nil { // after Chown, which drops bits
		return err
	}
	return t.File.Sync()
}

// Commit gives the file its final name.
func (t *tempFile) Commit() error {
	if err := t.Close(); err != nil {
		return errors.Join(fmt.Errorf("close %s: %w", t.Name(), err), t.Abort())
	}
	rename := renameNew
	if t.opt.force {
		rename = replace
	}
	if err := rename(t.Name(), t.final); err != nil {
		if errors.Is(err, fs.ErrExist) {
			err = existsError("it appeared meanwhile")
		}
		return errors.Join(err, t.Abort())
	}
	t.state = fileDone
	if err := syncFolder(filepath.Dir(t.final)); err != nil {
		return fmt.Errorf("%s is in place, but may be gone after a power failure: %w", t.final, err)
	}
	return nil
}

// Abort removes the file.
func (t *tempFile) Abort() error {
	if t.state != fileOpen {
		return nil
	}
	t.state = fileGone
	t.Close() // nothing in it is wanted; after Commit's own Close this is an error of no meaning
	if err := os.Remove(t.Name()); err != nil {
		return fmt.Errorf("remove the unfinished file: %w", err)
	}
	return nil
}

// dropCache makes later reads come from storage, once the file is synced. File
// systems that live in memory ignore it.
func dropCache(f *os.File) error {
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop %s from the page cache: %w", f.Name(), err)
	}
	return nil
}

// holeIn is the number of bytes from off on, at most length, that the file system
// knows to be a hole.
func holeIn(f *os.File, off, length int64) int64 {
	data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return length // no data up to the file's end
	case err != nil:
		return 0
	}
	return min(max(data-off, 0), length)
}
