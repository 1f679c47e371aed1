package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// verify reads the target back and compares it with the point, which is read
// again, too. Ranges that were damaged must be zeros; such that cannot be read
// only now are not compared, and returned.
func verify(ctx context.Context, s *source, t readBack, name string, workers int, prog *progress) ([]Range, error) {
	mismatch := func(err error) error {
		var m *MismatchError
		if errors.As(err, &m) {
			m.Disk, m.Target = s.disk.Info().Name, name
		}
		return err
	}
	if err := t.BeginVerify(); err != nil {
		return nil, mismatch(err)
	}
	lost := new(rangeSet)
	err := fan(ctx, s, workers, true, func() func(context.Context, piece) error {
		c := &comparer{s: s, t: t, lost: lost, want: make([]byte, window), got: make([]byte, window)}
		return func(ctx context.Context, p piece) error {
			for _, d := range p.data {
				if err := c.data(d); err != nil {
					return err
				}
			}
			if err := c.zeros(ctx, p.zero); err != nil {
				return err
			}
			if len(p.data) > 0 || !t.Blank() {
				prog.add(p.len())
			}
			return nil
		}
	})
	return without(lost.list(), s.damaged), mismatch(err)
}

// comparer is one worker of verify.
type comparer struct {
	s         *source
	t         readBack
	lost      *rangeSet // what could be read the first time only
	want, got []byte
}

func (c *comparer) data(d span) error {
	want, got := c.want[:d.len()], c.got[:d.len()]
	if err := readFull(c.t, got, d.off); err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	var found rangeSet
	if err := c.s.read(want, d.off, &found); err != nil {
		return err
	}
	for _, r := range found.list() {
		copy(want[r.Offset-d.off:], got[r.Offset-d.off:r.end()-d.off])
		c.lost.add(r)
	}
	c.s.damaged.within(d.off, d.end, func(off, end int64) {
		clear(want[off-d.off : end-d.off])
	})
	return c.same(want, got, d.off)
}

func (c *comparer) zeros(ctx context.Context, z span) error {
	for off := z.off; off < z.end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n := c.t.Hole(off, z.end-off); n > 0 {
			off += n
			continue
		}
		got := c.got[:min(z.end-off, window)]
		if err := readFull(c.t, got, off); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		if err := c.same(zeroes[:len(got)], got, off); err != nil {
			return err
		}
		off += int64(len(got))
	}
	return nil
}

func (c *comparer) same(want, got []byte, off int64) error {
	if bytes.Equal(want, got) {
		return nil
	}
	i := 0
	for want[i] == got[i] {
		i++
	}
	return &MismatchError{Offset: off + int64(i)}
}
