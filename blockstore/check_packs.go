package blockstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// missingPoints reports points that segments tell of and that are not there. Readers use
// the segment's copy, so that they are examined like the others.
func (c *checker) missingPoints() error {
	have, dropped := map[string]bool{}, map[string]bool{}
	for _, p := range c.found {
		have[pointPath(p.Machine, p.Seq, p.ID)] = true
	}
	each := func(fn func(segment.Point) error) error {
		for _, t := range c.tables.tables {
			if err := t.EachPoint(fn); err != nil {
				return err
			}
		}
		return nil
	}
	err := each(func(p segment.Point) error {
		dropped[p.Path] = dropped[p.Path] || p.Event == segment.Dropped
		return nil
	})
	if err != nil {
		return err
	}
	cut := c.v.cutShort(c.tables)
	return each(func(p segment.Point) error {
		if have[p.Path] || dropped[p.Path] || p.Path == cut {
			return nil
		}
		dropped[p.Path] = true // once is enough
		point, err := c.v.decodePoint(p.Path, p.Record)
		if err != nil {
			c.fault(p.Path, fmt.Errorf("a segment's copy of it: %w", err))
			return nil
		}
		if _, err := c.v.dir.Size(p.Path); err == nil {
			if p, err := c.v.point(p.Path); err == nil && p != nil {
				return nil // committed while the check ran
			}
		}
		c.fault(p.Path, errPointLost)
		c.found = append(c.found, point)
		c.report.Points++
		return nil
	})
}

// packs looks at every pack that a segment names: header, footer, size, and
// with Data every record, or those of the packs that were not read for longest.
func (c *checker) packs(ctx context.Context) error {
	list, err := c.listPacks()
	if err != nil {
		return err
	}
	c.report.Packs = int64(len(list))
	chosen, total, err := c.choose(list)
	if err != nil {
		return err
	}
	var done atomic.Int64
	g, groupCtx := errgroup.WithContext(ctx)
	workers := c.o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g.SetLimit(workers)
	for _, p := range list {
		g.Go(func() error {
			return c.packOrGone(groupCtx, p, chosen[p.ID], func(n int64) { c.o.Progress(done.Add(n), total) })
		})
	}
	err = g.Wait()
	if c.o.Data {
		err = errors.Join(err, c.readings.save())
		c.report.ReadSince = c.readSince(list)
	}
	return err
}

// packOrGone looks at one pack, and notes it as gone when nothing in it can be
// found.
func (c *checker) packOrGone(ctx context.Context, p namedPack, data bool, read func(int64)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	err := c.pack(ctx, p, data, read)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		c.packGone(packPath(p.writer, p.ID), p.ID, err)
	case data:
		return c.readings.note(p.ID, began)
	}
	return nil
}

// packGone notes a pack that cannot be read. One that is not there is no fault
// as such, since sweep removes packs; it is one when something is missed that
// was in it and is nowhere else.
func (c *checker) packGone(where string, id pack.ID, err error) {
	f := &Fault{Where: where, What: err.Error()}
	if isNotExist(err) {
		f.What = "the pack is missing"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone[id] = f
	if !isNotExist(err) {
		c.unreadable = append(c.unreadable, f)
	}
}
