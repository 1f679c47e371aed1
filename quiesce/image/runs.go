package image

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Run says how far from off on the disk is all zeros or all something else, at most
// length bytes, and which of them. What is zero is known without reading it.
func (i *Image) Run(off, length int64) (n int64, zero bool) {
	return runOf(i.layers[0].f, i.server, off, length)
}

func runOf(f *os.File, s *server, off, length int64) (n int64, zero bool) {
	if s != nil {
		return s.client.Run(context.Background(), off, length)
	}
	data, err := seekTo(f, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO): // nothing up to the end
		return length, true
	case err != nil: // it knows of no holes
		return length, false
	case data > off:
		return min(data-off, length), true
	}
	hole, err := seekTo(f, off, unix.SEEK_HOLE)
	if err != nil || hole <= off {
		return length, false
	}
	return min(hole-off, length), false
}

func seekTo(f *os.File, off int64, whence int) (at int64, err error) {
	err = control(f, func(fd int) (err error) {
		at, err = unix.Seek(fd, off, whence)
		return err
	})
	return at, err
}
