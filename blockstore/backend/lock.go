package backend

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// ErrLocked reports a lock that another process holds.
var ErrLocked = errors.New("locked by another process")

// Lock is an exclusive lock on a file, which may be read and rewritten while
// it is held. It is of the kind that belongs to the open file (F_OFD_SETLK), so
// it ends with the process, however that ends.
type Lock struct {
	dir  *Dir
	name string
	f    *os.File
}

// Lock takes the lock of a file, which is made when it is not there. A link is not followed: what it
// leads to would be overwritten.
func (d *Dir) Lock(name string) (*Lock, error) {
	defer d.Call("lock", name)()
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, &fs.PathError{Op: "lock", Path: d.Path(name), Err: fmt.Errorf("%w, but a link, which is not followed: remove it", ErrNotFile)}
	}
	if err != nil {
		return nil, full(err)
	}
	if err := d.private(f, name); err != nil {
		f.Close()
		return nil, err
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if err == nil {
		return &Lock{d, name, f}, nil
	}
	f.Close()
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
}

// private gives the lock's file its mode, whatever the umask, and makes its name
// durable: it tells the next owner how the last one ended.
func (d *Dir) private(f *os.File, name string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return &fs.PathError{Op: "lock", Path: f.Name(), Err: ErrNotFile}
	}
	if st.Mode().Perm() != 0o600 {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
	}
	return d.syncDir(path.Dir(name))
}

// Rewrite replaces the file's content in place and syncs it.
func (l *Lock) Rewrite(data []byte) error {
	if err := l.dir.HangError(); err != nil {
		return err
	}
	defer l.dir.Call("write", l.name)()
	if _, err := l.f.WriteAt(data, 0); err != nil {
		return full(err)
	}
	if err := l.f.Truncate(int64(len(data))); err != nil {
		return full(err)
	}
	return full(l.f.Sync())
}

// InPlace returns an error unless the file that is locked lies under its name still: fs.ErrNotExist where none
// does. Where inodes tell that is certain; on a file system of another host a file that was replaced may pass.
func (l *Lock) InPlace() error {
	defer l.dir.Call("look at", l.name)()
	there, err := os.Stat(l.dir.Path(l.name))
	if err != nil || !l.dir.Local() {
		return err
	}
	locked, err := l.f.Stat()
	if err == nil && !os.SameFile(there, locked) {
		err = fmt.Errorf("%s is another file than the one that is locked", l.dir.Path(l.name))
	}
	return err
}

// Release gives the lock up, at once: a process that this one is just starting
// has the file open, too, until it runs its program.
func (l *Lock) Release() error {
	whole := unix.Flock_t{Type: unix.F_UNLCK}
	err := unix.FcntlFlock(l.f.Fd(), unix.F_OFD_SETLK, &whole)
	return errors.Join(err, l.f.Close())
}
