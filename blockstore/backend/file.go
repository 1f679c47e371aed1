package backend

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// File is a new file that nobody sees yet. WriteAt may be called by several
// goroutines at once, the other methods by one.
type File struct {
	dir        *Dir
	name, temp string
	f          *os.File // nil once committed or aborted
}

// Create begins a new file, and makes the folders above it.
func (d *Dir) Create(name string) (*File, error) {
	if err := d.HangError(); err != nil {
		return nil, err
	}
	folder := path.Dir(name)
	if err := d.MakeDir(folder); err != nil {
		return nil, err
	}
	var salt [8]byte
	rand.Read(salt[:]) // never fails
	temp := path.Join(folder, tempPrefix+hex.EncodeToString(salt[:]))
	done := d.Call("create", name)
	f, err := os.OpenFile(d.Path(temp), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	done()
	if err != nil {
		return nil, full(err)
	}
	if err := f.Chmod(0o600); err != nil {
		f.Close()
		return nil, errors.Join(err, os.Remove(d.Path(temp)))
	}
	return &File{dir: d, name: name, temp: temp, f: f}, nil
}

// Name is the name that the file will have.
func (f *File) Name() string { return f.name }

// WriteAt writes into the file.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	done := f.dir.Call("write", f.name)
	n, err := f.dir.Ops.WriteAt(f.f, f.name, p, off)
	done()
	return n, full(err)
}

// ReadAt reads what was written.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Commit makes the file durable and visible under its name; a name that is
// taken is fs.ErrExist. If it fails before the file has its name, the file is
// gone; if syncing the folder fails, it may be there, and be gone after a power
// loss. Sync is tried once: after a failure the kernel may have dropped the
// very pages that a second try would report as written.
func (f *File) Commit() error {
	defer f.Abort()
	if err := f.sync(); err != nil {
		return full(fmt.Errorf("sync %s: %w", f.dir.Path(f.name), err))
	}
	// Who waited for this was told that it failed.
	if err := f.dir.HangError(); err != nil {
		return err
	}
	if err := f.link(); err != nil {
		return full(err)
	}
	if err := f.dir.syncDir(path.Dir(f.name)); err != nil {
		return err
	}
	// XFS that is shut down answers the sync of a folder whose changes it gave up
	// as if all were well, that of a file with an error.
	if err := f.sync(); err != nil {
		return full(fmt.Errorf("sync %s: %w", f.dir.Path(f.name), err))
	}
	return nil
}

func (f *File) sync() error {
	defer f.dir.Call("sync", f.name)()
	return f.dir.Ops.Sync(f.f, f.name)
}

// link gives the file its name, never replacing another. File systems without
// hard links get a rename, which there is no second owner to race with.
func (f *File) link() error {
	defer f.dir.Call("link", f.name)()
	from, to := f.dir.Path(f.temp), f.dir.Path(f.name)
	err := os.Link(from, to)
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create %s: %w", to, fs.ErrExist)
	}
	return os.Rename(from, to)
}

// Abort removes a file that was not committed. After Commit it does nothing.
func (f *File) Abort() {
	if f.f == nil {
		return
	}
	f.f.Close()
	os.Remove(f.dir.Path(f.temp)) // what stays is removed by RemoveTemps
	f.f = nil
}
