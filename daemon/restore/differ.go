package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// matcher is a Disk that compares bytes with its own by hashes, without reading data;
// see [blockstore.Disk.Match].
type matcher interface {
	Match(ctx context.Context, p []byte, off int64, differ func(off, length int64) error) error
}

// differences finds where what is in a place is not what the disk holds, up to the end
// of the shorter one; beyond the place's end all that is not zero differs. With
// before, a disk of the same vault that holds what the place holds, only maps are read.
func differences(ctx context.Context, s *source, before Disk, now content, workers int, prog *progress) ([]span, error) {
	found := new(rangeSet)
	note := func(off, length int64) error {
		found.add(Range{Offset: off, Length: min(length, s.size-off)})
		return nil
	}
	var err error
	a, isBlocks := before.(*blockstore.Disk)
	b, isToo := s.disk.(*blockstore.Disk)
	if isBlocks && isToo {
		err = blockstore.Diff(ctx, a, b, func(off, length int64) error {
			if off >= s.size {
				return nil
			}
			return note(off, length)
		})
	} else {
		err = compare(ctx, s, now, workers, note, prog)
	}
	var list []span
	for _, r := range found.list() {
		list = append(list, span{r.Offset, r.end()})
	}
	return list, err
}

// compare reads the place and tells note what is not equal.
func compare(ctx context.Context, s *source, now content, workers int, note func(off, length int64) error, prog *progress) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan span, workers)
	g.Go(func() error {
		defer close(todo)
		return s.runs(ctx, now, note, prog, func(w span) error {
			select {
			case todo <- w:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	for range workers {
		buf := make([]byte, window)
		g.Go(func() error {
			for w := range todo {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				p := buf[:w.len()]
				if err := readFull(now, p, w.off); err != nil {
					return err
				}
				if err := s.match(ctx, p, w.off, note); err != nil {
					return err
				}
				prog.add(w.len())
			}
			return nil
		})
	}
	return g.Wait()
}

// askRun is how much of a place is asked about at once.
const askRun = 1 << 30

// runs goes through the place: what is known to be zero is compared with the map alone, the rest
// is handed to read in whole blocks.
func (s *source) runs(ctx context.Context, now content, note func(off, length int64) error, prog *progress, read func(span) error) error {
	bs, end := int64(s.disk.BlockSize()), min(s.size, now.Size())
	for pos := int64(0); pos < end; {
		n, zero := now.Run(pos, min(askRun, end-pos))
		to := min(pos+n, end)
		if zero && to < end {
			to -= to % bs
		}
		if zero && to > pos {
			if err := s.notZero(ctx, span{pos, to}, note); err != nil {
				return err
			}
			prog.add(to - pos)
			pos = to
			continue
		}
		to = min(max(ceil(to, bs), pos/bs+1)*bs, end)
		for pos < to {
			w := span{pos, min(to, (pos/window+1)*window)}
			if err := read(w); err != nil {
				return err
			}
			pos = w.end
		}
	}
	if end < s.size {
		return s.notZero(ctx, span{end, s.size}, note)
	}
	return nil
}

// isZero says whether a part of a place is zeros.
func isZero(ctx context.Context, now content, part span) (bool, error) {
	buf := make([]byte, min(part.len(), window))
	for pos := part.off; pos < part.end; {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		n, zero := now.Run(pos, min(askRun, part.end-pos))
		if !zero {
			n = min(n, window)
			if err := readFull(now, buf[:n], pos); err != nil {
				return false, err
			}
			if !bytes.Equal(buf[:n], zeroes[:n]) {
				return false, nil
			}
		}
		pos += n
	}
	return true, nil
}

// notZero notes what of a part of the disk is data.
func (s *source) notZero(ctx context.Context, part span, note func(off, length int64) error) error {
	return s.within(ctx, part, func(e blockstore.Extent) error {
		if e.Kind != blockstore.Data {
			return nil
		}
		return note(e.Offset, e.Length)
	})
}

// match notes where p is not what the disk holds at off. What cannot be told, since
// the disk is damaged there and that is skipped, differs.
func (s *source) match(ctx context.Context, p []byte, off int64, note func(off, length int64) error) error {
	m, ok := s.disk.(matcher)
	if !ok {
		return s.matchBytes(p, off, note)
	}
	err := m.Match(ctx, p, off, note)
	var damage *blockstore.CorruptError
	if s.skip && errors.As(err, &damage) {
		return note(off, int64(len(p)))
	}
	return err
}

func (s *source) matchBytes(p []byte, off int64, note func(off, length int64) error) error {
	want := make([]byte, len(p))
	if err := s.read(want, off, s.damaged); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	bs := s.disk.BlockSize()
	for at := 0; at < len(p); at += bs {
		to := min(at+bs, len(p))
		if !bytes.Equal(p[at:to], want[at:to]) {
			if err := note(off+int64(at), int64(to-at)); err != nil {
				return err
			}
		}
	}
	return nil
}
