package backend

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Allocate makes a new file of size bytes that the file system has really set
// aside, whole or not at all. What it holds is zeros.
func (d *Dir) Allocate(name string, size int64) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	defer f.Abort()
	err = unix.Fallocate(int(f.f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = f.fill(size)
	}
	if err != nil {
		return full(fmt.Errorf("set %d bytes aside as %s: %w", size, d.Path(name), err))
	}
	return f.Commit()
}

// fill writes size bytes.
func (f *File) fill(size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}
