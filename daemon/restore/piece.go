package restore

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const (
	// window is the most that is read or written at once, in bytes: a power of two
	// and a multiple of every block size.
	window = 1 << 20

	// step is how much a worker takes on at a time, in bytes, or a block where that is
	// larger. What was decoded is then written while a processor's own cache holds
	// it still: with 1 MiB the writing took a quarter more processor time.
	step = 256 << 10

	// zeroRun is the most that is zeroed at once: a device may really write it, and
	// nothing can interrupt that.
	zeroRun = 128 << 20
)

// span is a run of bytes of a disk.
type span struct{ off, end int64 }

func (s span) len() int64 { return s.end - s.off }

// piece is what a worker takes on: runs of data that lie in one step, or, when
// there are none, a run of zeros.
type piece struct {
	data []span
	zero span
}

func (p piece) len() int64 {
	n := p.zero.len()
	for _, d := range p.data {
		n += d.len()
	}
	return n
}

// step is the constant of that name, or a block where that is larger, or all at once where
// each reading of the disk costs much.
func (s *source) step() int64 {
	if _, costly := s.disk.(CostlyDisk); costly {
		return window
	}
	return max(step, int64(s.disk.BlockSize()))
}

// pieces cuts the disk into pieces, so that scattered small runs of data cost one
// piece for each step rather than each run. The order of pieces is not that of
// the disk.
func (s *source) pieces(ctx context.Context, zeros bool, fn func(piece) error) error {
	var data []span
	unit := s.step()
	flush := func() error {
		if len(data) == 0 {
			return nil
		}
		p := piece{data: data}
		data = nil
		return fn(p)
	}
	err := s.cuts(ctx, func(c span, kind blockstore.ExtentKind) error {
		if kind == blockstore.Zero {
			if !zeros {
				return nil
			}
			return fn(piece{zero: c})
		}
		if n := len(data); n > 0 {
			last := &data[n-1]
			if last.off/unit != c.off/unit {
				if err := flush(); err != nil {
					return err
				}
			} else if last.end == c.off {
				last.end = c.end
				return nil
			}
		}
		data = append(data, c)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// cuts yields the disk in order: data cut where steps begin, zeros in runs.
func (s *source) cuts(ctx context.Context, fn func(span, blockstore.ExtentKind) error) error {
	return s.extents(ctx, func(e blockstore.Extent) error {
		unit := s.step()
		if e.Kind == blockstore.Zero {
			unit = zeroRun
		}
		for off := e.Offset; off < e.End(); {
			end := min(e.End(), (off/unit+1)*unit)
			if err := fn(span{off, end}, e.Kind); err != nil {
				return err
			}
			off = end
		}
		return nil
	})
}
