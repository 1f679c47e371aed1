package image

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// InUseError reports an image that somebody else uses.
type InUseError struct {
	Path  string
	Users []User // who, as far as can be told
	// Started is set when the image was not in use when it was opened.
	Started bool
	// Change is set when the image was to be changed, not read.
	Change bool
}

func (e *InUseError) Error() string {
	var who []string
	for _, u := range e.Users {
		who = append(who, u.String())
	}
	if e.Started {
		return fmt.Sprintf("image %s came into use while it was read (%s), probably its machine was started: what was read is not from one moment", e.Path, strings.Join(who, "; "))
	}
	if e.Change {
		return fmt.Sprintf("image %s is in use (%s): shut the machine down first, nothing is written while anybody uses it", e.Path, strings.Join(who, "; "))
	}
	return fmt.Sprintf("image %s is in use (%s): shut the machine down first, or give --allow-in-use for a copy that may be inconsistent", e.Path, strings.Join(who, "; "))
}

// ChangedError reports an image that changed while it was read.
type ChangedError struct {
	Path, What string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("image %s changed while it was read: %s: what was read is not from one moment", e.Path, e.What)
}

// QEMU marks what it does with an image by locks on single bytes of it; this
// is the byte for "I write". See raw_apply_lock_bytes in
// https://gitlab.com/qemu-project/qemu/-/blob/master/block/file-posix.c.
const qemuWrites = 101

// writeLocked asks whether a QEMU process may write to the file.
func (f *file) writeLocked() (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: qemuWrites, Len: 1}
	err := control(f.f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock) })
	if err != nil {
		return false, &fs.PathError{Op: "ask for locks of image", Path: f.path, Err: err}
	}
	return lock.Type != unix.F_UNLCK, nil
}

// users says who writes to a regular file, or uses a block device, apart from
// the process ours.
func (f *file) users(ours int) ([]User, error) {
	if f.block {
		users, err := usersOf(f.dev)
		return slices.DeleteFunc(users, func(u User) bool { return u.PID != 0 && u.PID == ours }), err
	}
	writable := loopsOver(func(st *unix.Statx_t) bool { return sameFile(st, &f.at) })
	writable = slices.DeleteFunc(writable, func(u User) bool { return strings.HasPrefix(u.How, readOnlyLoop) })
	locked, err := f.writeLocked()
	if err != nil || !locked {
		return writable, err
	}
	users := fileUsers(&f.at)
	if len(users) == 0 {
		users = []User{{Command: "a QEMU process", How: forWriting}}
	}
	return append(users, writable...), nil
}

// checkUse returns an *InUseError for the first file of the image that somebody uses.
func (i *Image) checkUse(started bool) error {
	ours := 0
	if i.server != nil {
		ours = i.server.pid()
	}
	for n, l := range i.layers {
		if n == 0 && i.spec.held {
			continue
		}
		users, err := l.users(ours)
		if len(users) > 0 {
			return &InUseError{Path: l.path, Users: users, Started: started}
		}
		if err != nil {
			return fmt.Errorf("is image %s in use: %w (or give --allow-in-use)", l.path, err)
		}
	}
	return nil
}

// checkChanged returns a *ChangedError for the first file that is not as it
// was when it was opened.
func (i *Image) checkChanged() error {
	for _, l := range i.layers {
		what, err := l.changed()
		if err != nil {
			return err
		}
		if what != "" {
			return &ChangedError{Path: l.path, What: what}
		}
	}
	return nil
}

// Verify looks once more whether the image is as it was when it was opened and
// nobody writes to it. It is to be called after the last byte was read; then nil
// means that all of them are from one moment. Where the image may be in
// use, it notes that it is and returns nil.
func (i *Image) Verify() error {
	err := i.checkUse(true)
	if err == nil {
		err = i.checkChanged()
	}
	if err != nil && i.spec.AllowInUse {
		i.inUse.Store(true)
		return i.checkSize()
	}
	return err
}

// checkSize reports a raw image that is no longer as long as it was: even who
// accepts an image in use does not expect that.
func (i *Image) checkSize() error {
	top := i.layers[0]
	if top.format != formatRaw {
		return nil
	}
	now, err := top.stamp()
	if err == nil && now.size != i.size {
		err = &ChangedError{Path: top.path, What: fmt.Sprintf("its size went from %d to %d bytes", i.size, now.size)}
	}
	return err
}

// InUse says whether somebody else was seen to use the image, which
// Spec.AllowInUse accepts: what was read is not from one moment then.
func (i *Image) InUse() bool { return i.inUse.Load() }

const (
	watchEvery   = 200 * time.Millisecond
	watchLongest = 800 * time.Millisecond
)

// Watch returns an error as soon as the image is changed or used by somebody
// else, within a second, and nil when ctx ends. It is to run beside the reading.
func (i *Image) Watch(ctx context.Context) error {
	pause := watchEvery
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		begun := time.Now()
		if err := i.Verify(); err != nil {
			return err
		}
		// Looking through all processes can take a while: not all the time.
		pause = min(max(watchEvery, 4*time.Since(begun)), watchLongest)
	}
}
