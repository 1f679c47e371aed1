package blockstore

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// missingPoints reports points that segments tell of and that are not there.
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
	cut := c.cutShort()
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
		c.fault(p.Path, errPointLost, Harm{Machine: point.MachineName, Point: point.ID})
		return nil
	})
}

// cutShort returns the path of the one point whose commit is under way, or was
// cut short, if it is missing: the newest segment is for it alone, and the owner
// has not ended well.
func (c *checker) cutShort() string {
	if len(c.tables.tables) == 0 {
		return ""
	}
	newest := c.tables.tables[0] // the newest come first
	if o, err := c.v.readOwner(writerID(newest.Writer)); err == nil && o.Clean {
		return ""
	}
	var commits []string
	err := newest.EachPoint(func(p segment.Point) error {
		if p.Event == segment.Committed {
			commits = append(commits, p.Path)
		}
		return nil
	})
	if err != nil || len(commits) != 1 {
		return ""
	}
	return commits[0]
}

// packs looks at every pack that a segment names: header, footer, size, and
// with Data every record.
func (c *checker) packs(ctx context.Context) error {
	type named struct {
		segment.Pack
		writer WriterID
	}
	seen := map[pack.ID]bool{}
	var list []named
	var total, done atomic.Int64
	for _, t := range c.tables.tables {
		for _, p := range t.Packs {
			if !seen[p.ID] {
				seen[p.ID] = true
				list = append(list, named{p, writerID(t.Writer)})
				total.Add(p.Size)
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	workers := c.o.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	g.SetLimit(workers)
	for _, p := range list {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := c.pack(ctx, p.writer, p.Pack, func(n int64) {
				if c.o.Data {
					c.o.Progress(done.Add(n), total.Load())
				}
			})
			if err != nil && ctx.Err() == nil {
				c.packGone(packPath(p.writer, p.ID), p.ID, err)
			}
			return ctx.Err()
		})
	}
	c.report.Packs = int64(len(list))
	return g.Wait()
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

// pack looks at one pack. An error means that nothing in it can be found; a
// damaged header or footer is a fault and harms nobody, since segments say
// where its records are.
func (c *checker) pack(ctx context.Context, w WriterID, p segment.Pack, read func(int64)) error {
	where := packPath(w, p.ID)
	f, err := c.v.dir.Open(where)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := pack.ReadHeader(f)
	switch {
	case err != nil:
		c.fault(where, err)
	case h.ID != p.ID && !c.o.Data:
		return fmt.Errorf("it is pack %s under another name", h.ID)
	case h.ID != p.ID:
		c.fault(where, fmt.Errorf("it is pack %s under another name", h.ID))
	}
	if st.Size() != p.Size {
		c.fault(where, fmt.Errorf("it has %d bytes, its segment says %d", st.Size(), p.Size))
	}
	entries, err := pack.ReadFooter(f, st.Size(), p.ID)
	if err != nil {
		c.fault(where, err)
		entries = c.entriesOf(p.ID)
	}
	if !c.o.Data {
		return nil
	}
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // what is proven is the disk, as far as it can be
	return c.packData(ctx, f, where, entries, read)
}

// entriesOf lists what segments say of a pack whose footer is damaged.
func (c *checker) entriesOf(id pack.ID) (entries []pack.Entry) {
	for _, t := range c.tables.tables {
		for i := range t.Count {
			e, err := t.Entry(i)
			if err == nil && t.Packs[e.Pack].ID == id {
				entries = append(entries, pack.Entry{ID: e.ID, Location: pack.Location{Offset: e.Offset, Length: e.Length}})
			}
		}
	}
	return entries
}

// packData reads every record of a pack. Several are read at once where they
// lie side by side.
func (c *checker) packData(ctx context.Context, f *os.File, where string, entries []pack.Entry, read func(int64)) error {
	const window = 2 << 20 // more than the largest record has
	buf := make([]byte, window)
	plain := make([]byte, pack.MaxContent)
	for i := 0; i < len(entries); {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := int64(entries[i].Offset), entries[i].End()
		j := i + 1
		for j < len(entries) && int64(entries[j].Offset) == to && entries[j].End()-from <= window {
			to = entries[j].End()
			j++
		}
		n, err := f.ReadAt(buf[:to-from], from)
		for ord := i; ord < j; ord++ {
			e := entries[ord]
			at := int64(e.Offset) - from
			if at+int64(e.Length) > int64(n) {
				c.lost(e.ID, fmt.Sprintf("%s record %d", where, ord), fmt.Errorf("it cannot be read: %w", err))
				continue
			}
			if err := c.recordData(e, buf[at:at+int64(e.Length)], plain); err != nil {
				c.damagedCopy(e, fmt.Sprintf("%s record %d", where, ord), err)
			} else if err := pack.CheckSum(buf[at : at+int64(e.Length)]); err != nil {
				c.fault(fmt.Sprintf("%s record %d", where, ord), fmt.Errorf("%w; its content is good", err))
			}
		}
		c.mu.Lock()
		c.report.BytesRead += int64(n)
		c.mu.Unlock()
		read(int64(n))
		i = j
	}
	return nil
}

func (c *checker) recordData(e pack.Entry, rec, plain []byte) error {
	kind, n, err := pack.Describe(rec)
	if err != nil {
		return err
	}
	if e.Kind != 0 { // segments do not say; footers do
		kind = e.Kind
	}
	return pack.Decode(c.v.keys, kind, e.ID, rec, plain[:n])
}

// damagedCopy notes a damaged record; its content is lost only when no other
// copy can be read.
func (c *checker) damagedCopy(e pack.Entry, where string, err error) {
	for _, kind := range []content.Kind{content.Block, content.Page, content.Blob} {
		if e.Kind != 0 && e.Kind != kind {
			continue
		}
		if _, other := c.v.readWhole(kind, e.ID); other == nil {
			c.fault(where, fmt.Errorf("%w; another copy is good", err))
			return
		}
	}
	c.lost(e.ID, where, err)
}
