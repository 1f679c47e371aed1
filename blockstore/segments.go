package blockstore

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// maxPerClass is how many segments of about one size there are before they are
// merged into one. Sizes are about one when they differ by less than eight
// times.
const maxPerClass = 8

// writeSegment makes the records of all sealed packs that no segment names
// findable, and tells of points. The caller holds committing.
func (o *Owner) writeSegment(points []segment.Point) error {
	s := &o.store
	points = append(slices.Clone(o.undone), points...)
	s.mu.Lock()
	sealed := slices.Clone(s.unnamed)
	s.mu.Unlock()
	if len(sealed) == 0 && len(points) == 0 {
		return nil
	}
	packs, entries := sortSealed(sealed)
	table, err := o.newSegment(points, func(b *segment.Builder) ([]segment.Pack, error) {
		for _, e := range entries {
			if err := b.Add(e); err != nil {
				return nil, err
			}
		}
		return packs, nil
	})
	if err != nil {
		return err
	}
	o.replaceTables(table, nil)
	o.undone = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unnamed = slices.Delete(s.unnamed, 0, len(sealed)) // others were only added behind these
	for _, p := range sealed {
		s.waiting -= len(p.entries)
	}
	return nil
}

// sortSealed returns packs by ID, each once, and their records by ID, pack and offset.
func sortSealed(sealed []sealedPack) ([]segment.Pack, []segment.Entry) {
	sealed = slices.SortedFunc(slices.Values(sealed), func(a, b sealedPack) int { return slices.Compare(a.ID[:], b.ID[:]) })
	sealed = slices.CompactFunc(sealed, func(a, b sealedPack) bool { return a.ID == b.ID })
	var packs []segment.Pack
	var entries []segment.Entry
	for i, p := range sealed {
		packs = append(packs, p.Pack)
		for _, e := range p.entries {
			entries = append(entries, segment.Entry{ID: e.ID, Pack: uint32(i), Offset: e.Offset, Length: e.Length})
		}
	}
	segment.Sort(entries)
	return packs, entries
}

// newSegment writes a durable segment whose entries fill adds, and opens it.
// The caller holds committing.
func (o *Owner) newSegment(points []segment.Point, fill func(*segment.Builder) ([]segment.Pack, error)) (*segment.Table, error) {
	o.nextSeg++
	name := segmentPath(o.claim.owner.Writer, o.nextSeg)
	f, err := o.dir.Create(name)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	defer f.Abort()
	b := segment.NewBuilder(io.NewOffsetWriter(f, 0), o.keys, name)
	packs, err := fill(b)
	if err != nil {
		return nil, fmt.Errorf("write segment %s: %w", name, err)
	}
	head := segment.Head{Writer: o.claim.owner.Writer.bytes(), Seq: o.nextSeg, Created: time.Now(), Packs: packs}
	if err := b.Finish(head, points); err != nil {
		return nil, fmt.Errorf("write segment %s: %w", name, err)
	}
	o.opts.Event("segment.writing")
	if err := f.Commit(); err != nil {
		// It may be there, and tell of a point whose commit failed.
		return nil, fmt.Errorf("write segment: %w", errors.Join(err, o.dir.Remove(name)))
	}
	o.opts.Event("segment.written")
	return o.openSegment(name)
}

// replaceTables shows readers of this process a new segment in place of the
// ones that were merged into it.
func (o *Owner) replaceTables(added *segment.Table, merged []*segment.Table) {
	o.refreshing.Lock()
	defer o.refreshing.Unlock()
	old := o.tables.Load()
	set := &tableSet{broken: maps.Clone(old.broken), tables: []*segment.Table{added}}
	for _, t := range old.tables {
		if !slices.Contains(merged, t) {
			set.tables = append(set.tables, t)
		}
	}
	o.tables.Store(set)
}

// forgetBroken ends the memory of damaged segments, which were removed.
func (o *Owner) forgetBroken() {
	o.refreshing.Lock()
	defer o.refreshing.Unlock()
	old := o.tables.Load()
	set := &tableSet{tables: old.tables, broken: maps.Clone(old.broken)}
	maps.DeleteFunc(set.broken, func(_ string, err error) bool { return errors.Is(err, segment.ErrDamaged) })
	o.tables.Store(set)
}
