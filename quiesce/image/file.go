package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// file is one open file or block device of an image.
type file struct {
	f     *os.File
	path  string // as it was named
	real  string // links resolved, when it was opened
	block bool
	dev   device // of a block device
	seen  stamp  // when it was opened
	at    unix.Statx_t
}

// stamp is what changes when somebody writes to a file.
type stamp struct {
	size         int64         // bytes
	mtime, ctime unix.Timespec // of a file
	written      uint64        // sectors written to and discarded on a block device, as the kernel counts
}

// openFile opens what path leads to for reading, if it is a regular file or a
// block device that allowed (given its resolved path) does not refuse. Anything
// else is not even opened: opening a pipe waits, opening a tape winds it.
func openFile(path string, allowed func(real string) error) (*file, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open image", Path: path, Err: err}
	}
	handle := os.NewFile(uintptr(fd), path)
	defer handle.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, &fs.PathError{Op: "stat image", Path: path, Err: err}
	}
	if kind := kindOf(st.Mode); kind != "" {
		return nil, fmt.Errorf("image %s is %s: give a file or a block device", path, kind)
	}
	link := "/proc/self/fd/" + strconv.Itoa(fd)
	real, err := os.Readlink(link)
	if err != nil {
		return nil, fmt.Errorf("open image %s: where does it lie: %w", path, err)
	}
	if err := allowed(real); err != nil {
		return nil, err
	}
	f, err := os.Open(link) // the same file, whatever the path leads to by now
	if err != nil {
		return nil, fmt.Errorf("open image %s: %w", path, errors.Unwrap(err))
	}
	file := &file{f: f, path: path, real: real, block: st.Mode&unix.S_IFMT == unix.S_IFBLK}
	if err := file.look(); err != nil {
		f.Close()
		return nil, err
	}
	return file, nil
}

// kindOf names what is neither a regular file nor a block device.
func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK:
		return ""
	case unix.S_IFDIR:
		return "a folder"
	case unix.S_IFIFO:
		return "a named pipe"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFCHR:
		return "a character device"
	}
	return "neither a file nor a block device"
}

// look notes what the file is and what it looks like now.
func (f *file) look() error {
	if err := statx(f.handle(), &f.at); err != nil {
		return &fs.PathError{Op: "stat image", Path: f.path, Err: err}
	}
	if f.block {
		f.dev = device{f.at.Rdev_major, f.at.Rdev_minor}
	}
	var err error
	f.seen, err = f.stamp()
	return err
}

// settle makes writes of the past, which the kernel may have yet to carry out on
// a block device, happen before what changed() compares with.
func (f *file) settle() error {
	if !f.block {
		return nil
	}
	err := control(f.f, unix.Fsync)
	if err != nil {
		return &fs.PathError{Op: "flush device", Path: f.path, Err: err}
	}
	f.seen, err = f.stamp()
	return err
}

// handle is a path to the open file itself.
func (f *file) handle() string { return "/proc/self/fd/" + strconv.Itoa(int(f.f.Fd())) }

// stamp returns the present stamp.
func (f *file) stamp() (stamp, error) {
	if f.block {
		size, err := DeviceSize(f.f)
		return stamp{size: size, written: f.dev.written()}, err
	}
	var st unix.Stat_t
	if err := control(f.f, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return stamp{}, &fs.PathError{Op: "stat image", Path: f.path, Err: err}
	}
	return stamp{size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
}

// changed says what changed about the file since it was opened, "" if nothing did.
func (f *file) changed() (string, error) {
	now, err := f.stamp()
	switch {
	case err != nil:
		return "", err
	case now.size != f.seen.size:
		return fmt.Sprintf("its size went from %d to %d bytes", f.seen.size, now.size), nil
	case now.written != f.seen.written:
		return "it was written to", nil
	case now.mtime != f.seen.mtime:
		return "it was written to at " + clock(now.mtime), nil
	case now.ctime != f.seen.ctime:
		return "it was changed at " + clock(now.ctime), nil
	}
	return "", nil
}

func clock(t unix.Timespec) string {
	return time.Unix(t.Unix()).UTC().Format("15:04:05.000Z")
}

// settled is how long a file must have rested for its times to tell it from a
// file written to a moment later: the kernel's clock for them ticks coarsely.
const settled = 20 * time.Millisecond

// identity is text that differs when the file was replaced or written to; ""
// when that cannot be promised.
func (f *file) identity(opened time.Time) string {
	newest := max(f.seen.mtime.Nano(), f.seen.ctime.Nano())
	if f.block || newest > opened.Add(-settled).UnixNano() {
		return ""
	}
	return fmt.Sprintf("%d:%d/%d/%d/%d/%d", f.at.Dev_major, f.at.Dev_minor, f.at.Ino,
		f.seen.size, f.seen.mtime.Nano(), f.seen.ctime.Nano())
}

// within allows files whose resolved path lies in one of the folders.
func within(folders []string, what string) (func(real string) error, error) {
	var roots []string
	for _, folder := range folders {
		root, err := filepath.EvalSymlinks(folder)
		if err == nil {
			root, err = filepath.Abs(root)
		}
		if err != nil {
			return nil, fmt.Errorf("folder of backing files %s: %w", folder, err)
		}
		roots = append(roots, root)
	}
	return func(real string) error {
		for _, root := range roots {
			if rel, err := filepath.Rel(root, real); err == nil && filepath.IsLocal(rel) {
				return nil
			}
		}
		if len(roots) == 0 {
			return fmt.Errorf("%s, %s, is not followed: if it belongs to the disk, name its folder: backing=%s", what, real, filepath.Dir(real))
		}
		return fmt.Errorf("%s, %s, lies outside the folders named with backing=: if it belongs to the disk, add backing=%s", what, real, filepath.Dir(real))
	}, nil
}
