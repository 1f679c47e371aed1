package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Held is an image of a machine that is off, which no QEMU can open until
// it is released. A Held belongs to one goroutine.
type Held struct {
	spec   Spec
	layers []layer  // never empty; the image itself first
	f      *os.File // the image again, for writing: the locks are this one's
	locked bool
}

// QEMU's locks on the first byte of each kind: that it does something to an image, and
// that it lets nobody else do it. A permission's number is added; these are
// the permissions that matter here.
const (
	qemuDoes   = 100
	qemuKeeps  = 200
	qemuRead   = 0
	qemuWrite  = 1
	qemuResize = 3
)

// Hold opens an image to be changed, refuses one that anybody uses (*InUseError), and
// takes the locks that a QEMU takes: none that honours them can open the image, not even
// to read it. The locks end with Release and with the process.
func Hold(s Spec) (_ *Held, err error) {
	if len(s.Files) > 0 {
		return nil, fmt.Errorf("image %s: what another opened is read, and not changed", s.Path)
	}
	layers, err := openChain(s)
	if err != nil {
		return nil, err
	}
	h := &Held{spec: s, layers: layers}
	defer func() {
		if err != nil {
			h.Release()
		}
	}()
	if h.f, err = os.OpenFile(layers[0].handle(), os.O_RDWR, 0); err != nil {
		return nil, &fs.PathError{Op: "open image for writing", Path: s.Path, Err: errors.Unwrap(err)}
	}
	if err := h.lock(); err != nil {
		return nil, err
	}
	// Whoever was there before the locks is seen now, whoever comes later is refused.
	for _, l := range layers[1:] {
		if locked, err := l.writeLocked(); err != nil || locked {
			return nil, errors.Join(err, &InUseError{Path: l.path, Users: fileUsers(&l.at), Change: true})
		}
	}
	if err := h.refuseUsers(); err != nil {
		return nil, err
	}
	return h, nil
}

// lock takes the locks, and looks for those of others.
func (h *Held) lock() error {
	for _, b := range []int64{qemuDoes + qemuWrite, qemuDoes + qemuResize, qemuKeeps + qemuRead, qemuKeeps + qemuWrite, qemuKeeps + qemuResize} {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Start: b, Len: 1}
		err := control(h.f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock) })
		switch {
		case errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
			return nil // a file system without locks: QEMU has none there either
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EACCES):
			return h.inUse()
		case err != nil:
			return &fs.PathError{Op: "lock image", Path: h.spec.Path, Err: err}
		}
	}
	h.locked = true
	for _, b := range []int64{qemuDoes + qemuRead, qemuDoes + qemuWrite, qemuDoes + qemuResize, qemuKeeps + qemuWrite, qemuKeeps + qemuResize} {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: b, Len: 1}
		if err := control(h.f, func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock) }); err != nil {
			return &fs.PathError{Op: "ask for locks of image", Path: h.spec.Path, Err: err}
		}
		if lock.Type != unix.F_UNLCK {
			return h.inUse()
		}
	}
	return nil
}

func (h *Held) inUse() error {
	top := h.layers[0]
	users := openers(&top.at)
	if top.block {
		users, _ = usersOf(top.dev)
	}
	if len(users) == 0 {
		users = []User{{Command: "a QEMU process", How: "its locks are on it"}}
	}
	return &InUseError{Path: h.spec.Path, Users: users, Change: true}
}

// refuseUsers refuses what is in use in a way that no lock shows.
func (h *Held) refuseUsers() error {
	top := h.layers[0]
	var users []User
	var err error
	if top.block {
		if users, err = usersOf(top.dev); err == nil && len(users) == 0 {
			users, err = claimed(top.handle())
		}
	} else {
		users = loopsOver(func(st *unix.Statx_t) bool { return sameFile(st, &top.at) })
	}
	if len(users) > 0 {
		return &InUseError{Path: h.spec.Path, Users: users, Change: true}
	}
	if err != nil {
		return fmt.Errorf("is image %s in use: %w", h.spec.Path, err)
	}
	return nil
}

// Block says whether the image is a block device.
func (h *Held) Block() bool { return h.layers[0].block }

// Locked says whether the file system has the locks that keep a QEMU away.
func (h *Held) Locked() bool { return h.locked }

// File is the image, open for reading and writing. It is closed by Release.
func (h *Held) File() *os.File { return h.f }

// Spec is what Open needs to read the image while it is held.
func (h *Held) Spec() Spec {
	s := h.spec
	s.held = true
	return s
}

// Moved says that the image has another name now.
func (h *Held) Moved(path string) {
	h.spec.Path, h.layers[0].path = path, path
}

// Unchanged returns a *ChangedError if somebody wrote to the image since it was held.
// It is not to be asked once the image was edited.
func (h *Held) Unchanged() error {
	for _, l := range h.layers {
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

// mendWithin is how long a look at all tables of an image may take.
const mendWithin = 30 * time.Minute

// Mend puts an image in order that was being edited when this or an earlier process died. A
// qcow2 image is consistent even then, but may have clusters that nothing uses: they are
// given back. Others need nothing.
func (h *Held) Mend(ctx context.Context) error {
	if h.layers[0].format != formatQcow2 {
		return nil
	}
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		return fmt.Errorf("mend image %s: %w (it is in the package qemu-utils)", h.spec.Path, err)
	}
	node := describe(h.layers, 3, service{held: true, lock: h.f})
	delete(node, "read-only") // qemu-img decides
	text, err := json.Marshal(node)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, mendWithin)
	defer cancel()
	var said tail
	cmd := exec.CommandContext(ctx, tool, "check", "-q", "-r", "leaks", "json:"+string(text))
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	for _, l := range h.layers {
		cmd.ExtraFiles = append(cmd.ExtraFiles, l.f)
	}
	runtime.LockOSThread() // the death that the kernel reports to the child is this thread's
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mend image %s: qemu-img check: %w: %s", h.spec.Path, err, &said)
	}
	return nil
}

// Release gives the image free.
func (h *Held) Release() error {
	closeAll(h.layers)
	h.layers = h.layers[:1]
	if h.f == nil {
		return nil
	}
	return h.f.Close()
}

// Edit opens the image for changes. Where it is qcow2, a child process makes them
// (qemu-nbd), which inherits the locks: they last until it is gone, whatever becomes of us.
// Changes end when ctx does.
func (h *Held) Edit(ctx context.Context) (*Editor, error) {
	top := h.layers[0]
	e := &Editor{path: h.spec.Path, f: h.f}
	if top.format == formatRaw {
		var err error
		if top.block {
			e.size, err = DeviceSize(h.f)
		} else {
			e.size, err = sizeOf(h.f)
		}
		return e, err
	}
	var err error
	if e.server, err = serveWritable(ctx, h.layers, h.f); err != nil {
		return nil, fmt.Errorf("open image %s for changes: %w", h.spec.Path, err)
	}
	e.size = e.server.client.Size()
	return e, nil
}

func sizeOf(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
