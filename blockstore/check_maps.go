package blockstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// points walks the maps of all points, shared pages once, and notes what they
// name and no pack holds.
func (c *checker) points(ctx context.Context) error {
	seen := newMarks(c.tables)
	for i, p := range c.found {
		for _, d := range p.Disks {
			if err := c.diskNames(ctx, c.v.diskMap(&d), seen); err != nil {
				return err
			}
		}
		for _, conf := range p.Config {
			for _, id := range conf.Parts {
				c.exists(id, content.Blob)
			}
		}
		if !c.o.Data {
			c.o.Progress(int64(i+1), int64(len(c.found)))
		}
	}
	return nil
}

func (c *checker) diskNames(ctx context.Context, m *diskmap.Map, seen *marks) error {
	return m.Visit(ctx, 0, m.Blocks, diskmap.Visitor{
		Page: func(id ID, _ int, _ int64) (bool, error) {
			if seen.add(id) {
				return false, nil
			}
			c.report.Pages++
			c.exists(id, content.Page)
			return true, nil
		},
		Blocks: func(_ int64, ids []ID) error {
			for _, id := range ids {
				if !id.IsZero() && !seen.add(id) {
					c.report.Blocks++
					c.exists(id, content.Block)
				}
			}
			return nil
		},
		Broken: func(e *diskmap.PageError) error {
			c.exists(e.ID, content.Page)
			c.lost(e.ID, fmt.Sprintf("page %s", e.ID.Short()), e.Err) // unless its pack is known to be gone
			return nil
		},
	})
}

// exists notes content that is in no pack that can be read.
func (c *checker) exists(id ID, kind content.Kind) {
	where := fmt.Sprintf("%v %s", kind, id.Short())
	err := errMissing
	var gone *Fault
	var note *DamageNote
	for _, t := range c.tables.tables {
		first, after, findErr := t.Find(id)
		if findErr != nil {
			err = findErr
		}
		for i := first; i < after; i++ {
			e, entryErr := t.Entry(i)
			if entryErr != nil {
				err = entryErr
				continue
			}
			p := pack.ID(t.Packs[e.Pack].ID)
			if f := c.gone[p]; f != nil {
				gone = f
				continue
			}
			if s, ok := c.short[p]; ok && int64(e.Offset)+int64(e.Length) > s.size {
				gone = s.fault
				continue
			}
			if n := c.notes[id][p]; n != nil && !c.read[p] {
				note, where = n, fmt.Sprintf("%s record %d", packPath(writerID(t.Writer), p), n.Ordinal)
				continue
			}
			return
		}
	}
	if c.v.loadLoose(c.tables) == nil {
		for _, p := range (*c.tables.loose.Load())[id] {
			c.unnamed(p)
			return
		}
	}
	if note != nil {
		err = fmt.Errorf("noted as damaged at %s: %s", note.Time.Format(time.RFC3339), note.What)
	} else if gone != nil {
		c.bad[id] = gone
		return
	}
	c.lost(id, where, err)
}

// unnamed reports a pack that holds what points name, and that no segment that
// can be read names.
func (c *checker) unnamed(p place) {
	if !c.loose[p.pack] {
		c.loose[p.pack] = true
		c.fault(packPath(p.writer, p.pack), errors.New("the segment that named it is lost or damaged; it is read by its own list, and the next owner of the vault names it again"))
	}
}

// harms finds every place that names lost content.
func (c *checker) harms(ctx context.Context) error {
	if len(c.bad) == 0 {
		return nil
	}
	clean := newMarks(c.tables)
	for _, p := range c.found {
		for _, d := range p.Disks {
			w := harmWalk{c: c, ctx: ctx, m: c.v.diskMap(&d), clean: clean, harm: Harm{Machine: p.MachineName, Point: p.ID, Disk: d.Name}, size: d.Size}
			if _, err := w.page(d.Root, diskmap.Levels(w.m.Blocks), 0); err != nil {
				return err
			}
		}
		for _, conf := range p.Config {
			for i, id := range conf.Parts {
				if f := c.bad[id]; f != nil {
					at := int64(i) * maxBlob
					f.Harms = append(f.Harms, Harm{p.MachineName, p.ID, "config/" + conf.Name, at, min(maxBlob, conf.Size-at)})
				}
			}
		}
	}
	return nil
}

// harmWalk walks one disk; pages that lead to nothing lost are walked once.
type harmWalk struct {
	c     *checker
	ctx   context.Context
	m     *diskmap.Map
	clean *marks
	harm  Harm
	size  int64
}

// page returns whether nothing that the page of id leads to is lost.
func (w *harmWalk) page(id ID, level int, first int64) (clean bool, err error) {
	if id.IsZero() || first >= w.m.Blocks {
		return true, nil
	}
	if w.lost(id, first, level) {
		return false, nil
	}
	if level == 0 || w.clean.has(id) {
		return true, nil
	}
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	p, err := w.m.Load(id, level)
	if err != nil {
		w.c.lost(id, fmt.Sprintf("page %s", id.Short()), err)
		w.lost(id, first, level)
		return false, nil
	}
	clean = true
	for i, child := range p.IDs {
		ok, err := w.page(child, level-1, first+int64(i)*diskmap.Span(level-1))
		if err != nil {
			return false, err
		}
		clean = clean && ok
	}
	if clean {
		w.clean.add(id)
	}
	return clean, nil
}

// lost adds the harm of lost content, joined with the one before where they
// touch.
func (w *harmWalk) lost(id ID, first int64, level int) bool {
	f := w.c.bad[id]
	if f == nil {
		return false
	}
	bs := int64(w.c.v.head.BlockSize)
	h := w.harm
	h.Offset = first * bs
	h.Length = min(diskmap.Span(level)*bs, w.size-h.Offset)
	if n := len(f.Harms); n > 0 {
		last := &f.Harms[n-1]
		if last.Point == h.Point && last.Disk == h.Disk && last.Offset+last.Length == h.Offset {
			last.Length += h.Length
			return true
		}
	}
	f.Harms = append(f.Harms, h)
	return true
}
