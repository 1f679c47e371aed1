package image

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// Extents calls fn for the disk's runs of data and zeros, as blockstore.Source says.
func (i *Image) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	m := &merger{fn: fn}
	var err error
	switch {
	case i.server != nil && i.server.marks != nil:
		err = i.marked(ctx, m)
	case i.server != nil:
		err = i.allocated(ctx, m, 0, i.size)
	case i.layers[0].block:
		err = m.add(ctx, i.size, blockstore.Data)
	default:
		err = i.holes(ctx, m)
	}
	if err == nil {
		err = m.flush()
	}
	return err
}

// merger joins neighbours of one kind and keeps count of where they begin.
type merger struct {
	next blockstore.Extent
	fn   func(blockstore.Extent) error
}

// add appends a run that ends at end.
func (m *merger) add(ctx context.Context, end int64, kind blockstore.ExtentKind) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if m.next.Kind != kind {
		if err := m.flush(); err != nil {
			return err
		}
		m.next = blockstore.Extent{Offset: m.next.End(), Kind: kind}
	}
	m.next.Length = end - m.next.Offset
	return nil
}

func (m *merger) flush() error {
	if m.next.Length == 0 {
		return nil
	}
	return m.fn(m.next)
}

// holes finds the holes of a raw file; a file system that knows of none has none.
func (i *Image) holes(ctx context.Context, m *merger) error {
	f := i.layers[0]
	for at := int64(0); at < i.size; {
		data, err := f.seek(at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // no data up to the end, wherever that is now
			if now, err := f.stamp(); err != nil || now.size < i.size {
				return errors.Join(&ChangedError{Path: f.path, What: "it has become shorter"}, err)
			}
			return m.add(ctx, i.size, blockstore.Zero)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			return m.add(ctx, i.size, blockstore.Data)
		case err != nil:
			return err
		}
		if data = min(data, i.size); data > at {
			if err := m.add(ctx, data, blockstore.Zero); err != nil {
				return err
			}
		}
		if at = data; at == i.size {
			return nil
		}
		if at, err = f.seek(at, unix.SEEK_HOLE); err != nil {
			return err
		}
		at = min(at, i.size)
		if err := m.add(ctx, at, blockstore.Data); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) seek(at int64, whence int) (off int64, err error) {
	err = control(f.f, func(fd int) error {
		off, err = unix.Seek(fd, at, whence)
		return err
	})
	if err == nil && off < at {
		err = unix.EIO
	}
	if err != nil {
		return 0, fmt.Errorf("find holes of image %s at %d: %w", f.path, at, err)
	}
	return off, nil
}

// statusStep is how much of a disk is asked about at once.
const statusStep = 1 << 30

// marked asks the server what the bitmap marks, and of that which ranges read as zeros.
func (i *Image) marked(ctx context.Context, m *merger) error {
	const dirty = 1 // the flag of what is marked
	return i.ask(ctx, i.server.marks, 0, i.size, func(e nbd.Extent) error {
		if e.Flags&dirty == 0 {
			return m.add(ctx, e.Offset+e.Length, blockstore.Same)
		}
		return i.allocated(ctx, m, e.Offset, e.Offset+e.Length)
	})
}

// allocated asks the server which ranges read as zeros.
func (i *Image) allocated(ctx context.Context, m *merger, from, to int64) error {
	return i.ask(ctx, i.server.client, from, to, func(e nbd.Extent) error {
		kind := blockstore.Data
		if e.Flags&nbd.ZeroBytes != 0 {
			kind = blockstore.Zero
		}
		return m.add(ctx, e.Offset+e.Length, kind)
	})
}

// ask calls fn for what the one context of a connection says of a range.
func (i *Image) ask(ctx context.Context, c *nbd.Client, from, to int64, fn func(nbd.Extent) error) error {
	for at := from; at < to; {
		status, err := c.BlockStatus(ctx, at, min(statusStep, to-at))
		if err != nil {
			return fmt.Errorf("extents of image %s: %w", i.spec.Path, i.server.explain(err))
		}
		for _, e := range status[c.Contexts()[0]] {
			e.Length = min(e.Length, to-e.Offset)
			at = e.Offset + e.Length
			if err := fn(e); err != nil {
				return err
			}
		}
	}
	return nil
}
