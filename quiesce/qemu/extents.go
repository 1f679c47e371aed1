package qemu

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// Extents calls fn for the disk's runs, as blockstore.Source says. Where there is a
// bitmap, what it does not mark is the same as in the parent; of the rest, what is
// known to read as zeros is zero. What nobody tells of is data.
func (e *Export) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	j := &joiner{fn: fn}
	w := walk{e, e.zeros.fresh(), e.changes.fresh()}
	for at := int64(0); at < e.size; {
		kind, end, err := w.kind(ctx, at)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = j.add(min(end, e.size), kind)
		}
		if err != nil {
			return err
		}
		at = end
	}
	return j.flush()
}

// walk is one call of Extents.
type walk struct {
	*Export
	zeros, changes *teller
}

// kind of the run that begins at an offset, and where it ends.
func (e *walk) kind(ctx context.Context, at int64) (blockstore.ExtentKind, int64, error) {
	if why := e.failed(); why != nil {
		return 0, 0, why
	}
	end := e.size
	if e.changes != nil {
		flags, until, err := e.changes.at(ctx, at, e.size)
		if err != nil {
			return 0, 0, err
		}
		if end = until; flags&bitmapDirty == 0 {
			return blockstore.Same, end, nil
		}
		if end-at <= e.small {
			return blockstore.Data, end, nil
		}
	}
	if e.zeros == nil {
		return blockstore.Data, end, nil
	}
	flags, until, err := e.zeros.at(ctx, at, end)
	if err != nil {
		return 0, 0, err
	}
	if flags&nbd.ZeroBytes != 0 {
		return blockstore.Zero, until, nil
	}
	return blockstore.Data, until, nil
}

// bitmapDirty is the flag of extents in the context of a dirty bitmap.
const bitmapDirty = 1

// statusSource answers questions about ranges: an *nbd.Client, or a file with holes.
type statusSource interface {
	BlockStatus(ctx context.Context, off, length int64) (map[string][]nbd.Extent, error)
}

// teller answers for one context, from a stretch of answers that it keeps: each walk
// has its own.
type teller struct {
	from    statusSource
	context string
	known   bool         // the source has the context; else all is data, and dirty
	kept    []nbd.Extent // ascending, without gaps
}

// smallChange is the length of a run of changes, in bytes, up to which it is read without asking
// what of it reads as zeros. Changes lie in many such runs, a question is a round
// trip as a read is, and QEMU sends no zeros.
const smallChange = 1 << 20

// statusStep is how much of a disk is asked about at once, in bytes.
const statusStep = 1 << 30

func newTeller(c *nbd.Client, context string) *teller {
	t := &teller{from: c, context: context}
	for _, name := range c.Contexts() {
		t.known = t.known || name == context
	}
	return t
}

func (t *teller) fresh() *teller {
	if t == nil {
		return nil
	}
	return &teller{from: t.from, context: t.context, known: t.known}
}

// at returns the flags at an offset, and where what has them ends: at limit at the latest.
func (t *teller) at(ctx context.Context, off, limit int64) (flags uint32, end int64, err error) {
	if !t.known {
		return bitmapDirty, limit, nil
	}
	for len(t.kept) > 0 && t.kept[0].Offset+t.kept[0].Length <= off {
		t.kept = t.kept[1:]
	}
	if len(t.kept) == 0 || t.kept[0].Offset > off {
		answer, err := t.from.BlockStatus(ctx, off, min(statusStep, limit-off))
		if err != nil {
			return 0, 0, err
		}
		t.kept = answer[t.context]
		if len(t.kept) == 0 || t.kept[0].Offset != off || t.kept[0].Length <= 0 {
			return 0, 0, fmt.Errorf("nothing is said of %s at %d", t.context, off)
		}
	}
	first := t.kept[0]
	return first.Flags, min(first.Offset+first.Length, limit), nil
}

// joiner joins neighbours of one kind.
type joiner struct {
	next blockstore.Extent
	fn   func(blockstore.Extent) error
}

// add appends a run that ends at end.
func (j *joiner) add(end int64, kind blockstore.ExtentKind) error {
	if j.next.Kind != kind {
		if err := j.flush(); err != nil {
			return err
		}
		j.next = blockstore.Extent{Offset: j.next.End(), Kind: kind}
	}
	j.next.Length = end - j.next.Offset
	return nil
}

func (j *joiner) flush() error {
	if j.next.Length == 0 {
		return nil
	}
	return j.fn(j.next)
}
