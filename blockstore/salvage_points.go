package blockstore

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// points writes the points of the old vault that are whole, with their machines
// and attributes.
func (s *salvage) points(ctx context.Context) error {
	records := s.pointRecords()
	if err := s.small(machinesDir, machineKind); err != nil {
		return err
	}
	if err := s.small(policiesDir, policyKind); err != nil {
		return err
	}
	if err := s.small(attrsDir, attributeKind); err != nil {
		return err
	}
	clean := newMarks(s.to.tables.Load())
	pending := make([]segment.Point, 0, 256) // points that share a segment
	for _, name := range slices.Sorted(maps.Keys(records)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := s.from.decodePoint(name, records[name])
		if err != nil {
			s.lost(name, err)
			continue
		}
		harms, err := s.harmsOf(ctx, p, clean)
		if err != nil {
			return err
		}
		if len(harms) > 0 {
			s.report.Harmed = append(s.report.Harmed, HarmedPoint{p, s.o.KeepHarmed, harms})
		}
		if len(harms) > 0 && !s.o.KeepHarmed {
			continue
		}
		if len(harms) == 0 {
			s.report.Points++
		}
		if _, err := s.to.dir.Size(name); err == nil {
			continue // an interrupted run wrote it
		}
		pending = append(pending, segment.Point{Event: segment.Committed, Path: name, Record: records[name]})
		if len(pending) == cap(pending) {
			if err := s.commit(pending); err != nil {
				return err
			}
			pending = pending[:0]
		}
	}
	if err := s.commit(pending); err != nil {
		return err
	}
	s.report.sort()
	if err := s.dropStrayAttributes(); err != nil {
		return err
	}
	// Machines whose records are lost are known by their points.
	return s.to.history.load(ctx, s.to)
}

// pointRecords finds the records of points, by path: their own files and, for
// those that are lost or damaged and were not dropped, what segments tell.
func (s *salvage) pointRecords() map[string][]byte {
	records, dropped := map[string][]byte{}, map[string]bool{}
	each := func(fn func(segment.Point)) {
		for _, t := range s.from.tables.Load().tables {
			if err := t.EachPoint(func(p segment.Point) error { fn(p); return nil }); err != nil {
				s.from.warn(err.Error())
			}
		}
	}
	each(func(p segment.Point) { dropped[p.Path] = dropped[p.Path] || p.Event == segment.Dropped })
	each(func(p segment.Point) {
		if !dropped[p.Path] && p.Event == segment.Committed && s.isPoint(p.Path, p.Record) {
			records[p.Path] = slices.Clone(p.Record)
		}
	})
	paths, err := pointPaths(s.from.dir.List)
	if err != nil {
		s.lost(pointsDir, err)
	}
	for _, p := range paths {
		b, err := s.from.dir.ReadFile(p, maxRecord)
		if err == nil && (records[p] == nil || s.isPoint(p, b)) {
			records[p] = b
		}
		if err != nil && records[p] == nil {
			s.lost(p, err)
		}
	}
	return records
}

// isPoint tells whether a record is that of the point that belongs at a path.
func (s *salvage) isPoint(name string, record []byte) bool {
	p, err := s.from.decodePoint(name, record)
	return err == nil && pointPath(p.Machine, p.Seq, p.ID) == name
}

// commit makes points of the new vault durable and visible, as a backup does.
func (s *salvage) commit(points []segment.Point) error {
	if len(points) == 0 {
		return nil
	}
	o := s.to
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	if err := o.writeSegment(points); err != nil {
		return err
	}
	for _, p := range points {
		if err := o.writePoint(p.Path, p.Record); err != nil {
			return err
		}
	}
	if len(o.tables.Load().tables) > 4*maxPerClass {
		return o.mergeSegments(context.Background())
	}
	return nil
}

// small copies the records below a folder that authenticate.
func (s *salvage) small(dir string, kind recordKind) error {
	names, err := s.from.dir.List(dir)
	if err != nil {
		s.lost(dir, err)
		return nil
	}
	for _, n := range names {
		p := path.Join(dir, n)
		if _, _, ok := parseNumbered(n); !ok {
			if err := s.small(p, kind); err != nil {
				return err
			}
			continue
		}
		b, err := s.from.dir.ReadFile(p, maxRecord)
		var body any
		if err == nil {
			err = decodeRecord(s.from.keys, kind, p, b, &body)
		}
		switch {
		case err != nil && kind == machineKind: // it is written again from the machine's points
			s.from.warn(err.Error())
			continue
		case err != nil:
			s.lost(p, err)
			continue
		}
		if _, err := s.to.dir.Size(p); err == nil {
			continue
		}
		if err := s.to.dir.Write(p, b); err != nil {
			return err
		}
	}
	return nil
}

// dropStrayAttributes removes the attributes of points that were not written.
func (s *salvage) dropStrayAttributes() error {
	for _, h := range s.report.Harmed {
		if h.Kept {
			continue
		}
		if err := s.to.removeAttributes(h.Point.Machine, h.Point.ID); err != nil {
			return err
		}
	}
	return nil
}

// harmsOf finds what of a point is not in the new vault. Pages that lead to
// nothing lost are walked once, whatever number of points shares them.
func (s *salvage) harmsOf(ctx context.Context, p *Point, clean *marks) (harms []Harm, err error) {
	for i := range p.Disks {
		d := &p.Disks[i]
		w := lossWalk{ctx: ctx, m: s.to.diskMap(d), clean: clean, bs: int64(s.to.head.BlockSize), size: d.Size,
			harm: Harm{Machine: p.MachineName, Point: p.ID, Disk: d.Name}}
		if _, err := w.page(d.Root, diskmap.Levels(w.m.Blocks), 0); err != nil {
			return nil, fmt.Errorf("point %s@%s: %w", p.MachineName, p.ID, err)
		}
		harms = append(harms, w.harms...)
	}
	for _, c := range p.Config {
		for i, id := range c.Parts {
			if _, _, ok := clean.set.locate(id); !ok {
				at := int64(i) * maxBlob
				harms = append(harms, Harm{p.MachineName, p.ID, "config/" + c.Name, at, min(maxBlob, c.Size-at)})
			}
		}
	}
	return harms, nil
}

// lossWalk walks one disk for what no segment lists.
type lossWalk struct {
	ctx      context.Context
	m        *diskmap.Map
	clean    *marks // pages that lead to nothing lost
	bs, size int64
	harm     Harm // of the disk
	harms    []Harm
}

// page returns whether nothing that the node of id leads to is lost. Level 0 is
// that of blocks.
func (w *lossWalk) page(id ID, level int, first int64) (clean bool, err error) {
	if id.IsZero() || first >= w.m.Blocks {
		return true, nil
	}
	if level == 0 {
		_, _, ok := w.clean.set.locate(id)
		if !ok {
			w.lost(first, level)
		}
		return ok, nil
	}
	if w.clean.has(id) {
		return true, nil
	}
	if err := w.ctx.Err(); err != nil {
		return false, err
	}
	if _, _, ok := w.clean.set.locate(id); !ok {
		w.lost(first, level)
		return false, nil
	}
	p, err := w.m.Load(id, level)
	if err != nil {
		w.lost(first, level)
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

// lost adds a range, joined with the one before where they touch.
func (w *lossWalk) lost(first int64, level int) {
	h := w.harm
	h.Offset = first * w.bs
	h.Length = min(diskmap.Span(level)*w.bs, w.size-h.Offset)
	if n := len(w.harms); n > 0 && w.harms[n-1].Offset+w.harms[n-1].Length == h.Offset {
		w.harms[n-1].Length += h.Length
		return
	}
	w.harms = append(w.harms, h)
}
