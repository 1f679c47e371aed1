package image

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Editor changes an image that is held. WriteAt, Zero and ReadAt may be called by many
// goroutines at once, for ranges that do not overlap.
type Editor struct {
	path   string
	f      *os.File // of the image; nothing is read or written through it where there is a server
	size   int64
	server *server // changes a qcow2 image; nil for others
}

// Size is that of the disk in the image, in bytes.
func (e *Editor) Size() int64 { return e.size }

// ReadAt is io.ReaderAt.
func (e *Editor) ReadAt(p []byte, off int64) (int, error) {
	if e.server == nil {
		return e.f.ReadAt(p, off)
	}
	n, err := e.server.client.ReadAt(p, off)
	return n, e.server.explain(err)
}

// WriteAt is io.WriterAt. Nothing is durable before Sync.
func (e *Editor) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > e.size || int64(len(p)) > e.size-off {
		return 0, fmt.Errorf("write %d bytes at %d of image %s: it ends at %d", len(p), off, e.path, e.size)
	}
	if e.server == nil {
		return e.f.WriteAt(p, off)
	}
	n, err := e.server.client.WriteAt(p, off)
	return n, e.server.explain(err)
}

// Zero makes a range read as zeros, and gives its space back where that is possible.
func (e *Editor) Zero(off, length int64) error {
	if e.server != nil {
		return e.server.explain(e.server.client.Zero(off, length))
	}
	const grain = 4096
	first, last := min((off+grain-1)/grain*grain, off+length), (off+length)/grain*grain
	if last <= first {
		return e.writeZeros(off, off+length)
	}
	if err := e.writeZeros(off, first); err != nil {
		return err
	}
	if err := e.punch(first, last); err != nil {
		return err
	}
	return e.writeZeros(last, off+length)
}

// punch zeroes whole grains: a hole in a file, on a device what it can do; both
// read as zeros afterwards.
func (e *Editor) punch(off, end int64) error {
	for _, mode := range []uint32{
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
	} {
		err := control(e.f, func(fd int) error { return unix.Fallocate(fd, mode, off, end-off) })
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENODEV):
		default:
			return fmt.Errorf("zero %d bytes at %d of image %s: %w", end-off, off, e.path, err)
		}
	}
	return e.writeZeros(off, end)
}

var noughts [1 << 20]byte

func (e *Editor) writeZeros(off, end int64) error {
	for off < end {
		n, err := e.WriteAt(noughts[:min(end-off, int64(len(noughts)))], off)
		if err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Run says how far from off on the image is all zeros or all something else, at
// most length bytes, and which of them. What is zero is known without reading it.
func (e *Editor) Run(off, length int64) (n int64, zero bool) {
	return runOf(e.f, e.server, off, length)
}

// Sync makes all changes durable.
func (e *Editor) Sync() error {
	if e.server != nil {
		return e.server.explain(e.server.client.Flush())
	}
	return e.f.Sync()
}

// closeWithin is how long the process may take to write what it knows of an image.
const closeWithin = time.Minute

// Close ends the changes. The image is still held.
func (e *Editor) Close() error {
	if e.server == nil {
		return nil
	}
	s := e.server
	s.forget()
	s.client.Close() // the last client: the process closes the image and ends
	select {
	case <-s.exited:
	case <-time.After(closeWithin):
		s.end()
		<-s.exited
		return fmt.Errorf("close image %s: qemu-nbd did not end within %v and was killed", e.path, closeWithin)
	}
	if !s.cmd.ProcessState.Success() {
		return s.explain(fmt.Errorf("close image %s: qemu-nbd ended with %v", e.path, s.cmd.ProcessState))
	}
	return nil
}
