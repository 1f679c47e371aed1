package blockstore

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// CheckPoint reads all that one point names, and reports what of it cannot be
// read. Of the options Rate, Workers and Progress count, which is told bytes of disks. An
// error means that it could not go on.
func (v *Vault) CheckPoint(ctx context.Context, p *Point, o CheckOptions) (*CheckReport, error) {
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	c := newChecker(v, o)
	c.found = []*Point{p}
	c.report.Points = 1
	if err := c.refreshTables(ctx); err != nil {
		return nil, fmt.Errorf("check point %s@%s: %w", p.MachineName, p.ID, err)
	}
	total := p.Sizes.Logical
	done := &atomic.Int64{}
	for i := range p.Disks {
		if err := c.readDisk(ctx, &p.Disks[i], func(n int64) { o.Progress(done.Add(n), total) }); err != nil {
			return nil, fmt.Errorf("check point %s@%s: disk %s: %w", p.MachineName, p.ID, p.Disks[i].Name, err)
		}
	}
	for _, conf := range p.Config {
		for _, id := range conf.Parts {
			if _, err := v.readWhole(content.Blob, id); err != nil {
				c.lostContent(content.Blob, id, err)
			}
		}
	}
	if err := c.harms(ctx); err != nil {
		return nil, fmt.Errorf("check point %s@%s: %w", p.MachineName, p.ID, err)
	}
	return c.finish(), nil
}

// lostContent notes content of which no copy can be read, and lists the copies
// for the owner to look at.
func (c *checker) lostContent(kind content.Kind, id ID, err error) {
	c.lost(id, fmt.Sprintf("%v %s", kind, id.Short()), err)
	c.tables.find(id, func(p place) bool { // what cannot be found is in no pack to note
		c.list(namedPack{segment.Pack{ID: p.pack}, p.writer}, pack.Entry{ID: id, Kind: kind, Location: p.Location})
		return false
	})
}

// readDisk reads every block that a disk names, a leaf of its map at a time.
func (c *checker) readDisk(ctx context.Context, d *DiskInfo, read func(int64)) error {
	bs := int64(c.v.head.BlockSize)
	g, groupCtx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Workers)
	m := c.v.diskMap(d)
	err := m.Visit(groupCtx, 0, m.Blocks, diskmap.Visitor{
		Page: func(id ID, _ int, _ int64) (bool, error) {
			c.report.Pages++ // the walk is the only one to count them
			_, err := c.v.readWhole(content.Page, id)
			if err != nil {
				c.lostContent(content.Page, id, err)
			}
			return err == nil, nil
		},
		Zero: func(_, n int64) error { read(n * bs); return nil },
		Blocks: func(_ int64, ids []ID) error {
			g.Go(func() error { return c.readBlocks(groupCtx, ids, read) })
			return nil
		},
		Broken: func(*diskmap.PageError) error { return nil }, // which Page has noted
	})
	if e := g.Wait(); e != nil {
		return e
	}
	return err
}

func (c *checker) readBlocks(ctx context.Context, ids []ID, read func(int64)) error {
	buf := make([]byte, c.v.head.BlockSize)
	blocks := int64(0)
	for _, id := range ids {
		if id.IsZero() {
			continue
		}
		if err := c.pace.Take(ctx, int64(len(buf))); err != nil {
			return err
		}
		if err := c.v.readBlock(id, buf); err != nil {
			c.lostContent(content.Block, id, err)
		}
		blocks++
	}
	c.mu.Lock()
	c.report.Blocks += blocks
	c.report.BytesRead += blocks * int64(len(buf))
	c.mu.Unlock()
	read(int64(len(ids)) * int64(len(buf)))
	return nil
}
