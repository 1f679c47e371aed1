package fusefs

import (
	"context"
	"errors"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// A search for the next hole or data looks at windows of the disk, the first
// small, since most answers are near, each later one larger: the map's pages are
// read as far as the answer and not much further.
const (
	firstWindow = 64 << 20
	lastWindow  = 16 << 30
)

var errFound = errors.New("found")

// seeker answers lseek. The zero value is ready; it is safe for concurrent use.
type seeker struct {
	// run is the last run of data or zeros that was found whole. Programs ask for
	// the end of a run again and again from places within it; without this, each
	// question would walk the rest of the run.
	run atomic.Pointer[blockstore.Extent]
}

// next returns the first offset from off on that holds data (SEEK_DATA) or lies
// in a hole (SEEK_HOLE), the disk's end being a hole. Errors: ENXIO where there
// is none, EINVAL for another whence, those of d and of ctx.
func (s *seeker) next(ctx context.Context, d Disk, off int64, whence int) (int64, error) {
	var want blockstore.ExtentKind
	switch whence {
	case unix.SEEK_DATA:
		want = blockstore.Data
	case unix.SEEK_HOLE:
		want = blockstore.Zero
	default:
		return 0, syscall.EINVAL
	}
	size := d.Size()
	if off < 0 || off >= size {
		return 0, syscall.ENXIO
	}
	at, err := s.find(ctx, d, off, size, want)
	if err == nil && at >= size && want == blockstore.Data {
		return 0, syscall.ENXIO
	}
	return at, err
}

// find returns the first offset in [off, size) that is of the kind want, or size.
func (s *seeker) find(ctx context.Context, d Disk, off, size int64, want blockstore.ExtentKind) (int64, error) {
	start := off
	if r := s.run.Load(); r != nil && r.Offset <= off && off < r.End() {
		if r.Kind == want {
			return off, nil
		}
		return r.End(), nil // a run's neighbour is of the other kind, or the end
	}
	for window := int64(firstWindow); off < size; window = min(window*4, lastWindow) {
		length := min(window, size-off)
		at := off + length
		err := d.Extents(ctx, off, length, func(e blockstore.Extent) error {
			if e.Kind != want {
				return ctx.Err()
			}
			at = e.Offset
			return errFound
		})
		if errors.Is(err, errFound) {
			s.remember(start, at, want)
			return at, nil
		}
		if err != nil {
			return 0, err
		}
		off = at
	}
	s.remember(start, size, want)
	return size, nil
}

// remember keeps [from, to) as a run of what was not wanted.
func (s *seeker) remember(from, to int64, want blockstore.ExtentKind) {
	if from == to {
		return
	}
	kind := blockstore.Data
	if want == blockstore.Data {
		kind = blockstore.Zero
	}
	s.run.Store(&blockstore.Extent{Offset: from, Length: to - from, Kind: kind})
}
