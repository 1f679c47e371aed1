package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// mark marks all that any point names, the trash included. It fails closed: a
// point, an attribute or a page that cannot be read, or content that is in no
// pack, ends the sweep. Points in the trash come last, so that what only they
// name is known.
func (s *sweep) mark(ctx context.Context) error {
	all, err := s.o.allPoints(ctx, s.o.dir.List)
	if err != nil {
		return fmt.Errorf("nothing was removed, since not every point can be read: %w", err)
	}
	s.o.opts.Event("sweep.listed")
	// After the listing, so that what the points name is in it. What is
	// committed from here on is not marked, and is pinned or marked with its parent.
	if err := s.o.refresh(ctx); err != nil {
		return err
	}
	s.set = s.o.tables.Load()
	if s.opts.DryRun { // others are put back, or there is no sweep
		lost, err := s.o.lostPoints()
		if err != nil {
			return err
		}
		all = append(all, lost...)
	}
	trash, err := s.o.trash(s.o.dir.List)
	if err != nil {
		return fmt.Errorf("nothing was removed, since not every attribute can be read: %w", err)
	}
	if len(s.set.broken) > 0 {
		return fmt.Errorf("nothing was removed, since not every segment can be read: %w", s.set.brokenErr())
	}
	s.live = newMarks(s.set)
	s.live.noted = s.o.damage.snapshot()
	s.live.weigh(s.present)
	return s.walk(ctx, slices.DeleteFunc(all, func(p *Point) bool { return s.due[p.ID] }), trash)
}

// walk marks what points name, those in the trash last.
func (s *sweep) walk(ctx context.Context, points []*Point, trash map[PointID]bool) (err error) {
	w := s.o.newWalk(s.live, s.o.walkMemory)
	w.rest, w.readers = s.giveWay, s.readers
	defer func() { err = errors.Join(err, w.close()) }()
	for _, inTrash := range []bool{false, true} {
		var list []*Point
		for _, p := range points {
			if trash[p.ID] != inTrash {
				continue
			}
			if err := s.noteTrash(p, inTrash); err != nil {
				return err
			}
			list = append(list, p)
		}
		before := w.sum
		if err := w.points(ctx, list); err != nil && !errors.Is(err, errTooBroken) {
			return err
		}
		s.report.Live += w.sum - before
		if inTrash {
			s.report.Trash += w.sum - before
		}
	}
	if len(w.broken) > 0 {
		err := s.o.harmedBy(ctx, w.broken, points)
		return fmt.Errorf("nothing was removed: %w", err)
	}
	return nil
}

// noteTrash notes when the next point leaves the trash.
func (s *sweep) noteTrash(p *Point, inTrash bool) error {
	if !inTrash {
		return nil
	}
	state, err := s.o.State(p)
	if at := state.Expires(s.o.trashDays()); err == nil && (s.report.TrashUntil.IsZero() || at.Before(s.report.TrashUntil)) {
		s.report.TrashUntil = at
	}
	return err
}

// present tells whether a pack is sealed and there.
func (s *sweep) present(id pack.ID) bool {
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.present[id]
}

// markPoint marks what a point names and returns the bytes of the records that
// were not marked before. Content in no pack that is present is an error.
func (v *Vault) markPoint(ctx context.Context, m *marks, p *Point, present func(pack.ID) bool) (sum int64, err error) {
	mark := func(id ID) (before bool, err error) {
		if m.recent.has(id) {
			return true, nil
		}
		before, bytes, err := m.addPresent(id, present)
		if err == nil {
			m.recent.add(id)
		}
		if !before {
			sum += bytes
		}
		return before, err
	}
	for _, d := range p.Disks {
		dm := v.diskMap(&d)
		err := dm.Visit(ctx, 0, dm.Blocks, diskmap.Visitor{
			Page: func(id ID, _ int, _ int64) (bool, error) {
				before, err := mark(id)
				return !before, err
			},
			Blocks: func(_ int64, ids []ID) error {
				for _, id := range ids {
					if id.IsZero() {
						continue
					}
					if _, err := mark(id); err != nil {
						return err
					}
				}
				return nil
			},
		})
		if err != nil {
			return sum, fmt.Errorf("disk %s: %w", d.Name, err)
		}
	}
	for _, c := range p.Config {
		for _, id := range c.Parts {
			if _, err := mark(id); err != nil {
				return sum, fmt.Errorf("configuration %s: %w", c.Name, err)
			}
		}
	}
	return sum, nil
}

// addPresent marks the copy of id that is kept: the first one, newest segment
// first, in a pack that is present, and one that is noted as damaged only where
// there is no other. It returns whether it was marked before, and the record's bytes.
func (m *marks) addPresent(id ID, present func(pack.ID) bool) (before bool, bytes int64, err error) {
	keep := func(table int, entry int64, length uint32) (bool, int64, error) {
		before := m.marked(table, entry)
		m.mark(table, entry)
		return before, int64(length), nil
	}
	second := func() (bool, int64, error) { return false, 0, fmt.Errorf("%s: %w", id.Short(), errMissing) }
	found := false
	for i, t := range m.set.tables {
		first, after, err := t.Find(id)
		if err != nil {
			return false, 0, err
		}
		for at := first; at < after; at++ {
			e, err := t.Entry(at)
			if err != nil {
				return false, 0, err
			}
			p := pack.ID(t.Packs[e.Pack].ID)
			switch {
			case !present(p):
			case !m.noted.has(id, p):
				return keep(i, at, e.Length)
			case !found:
				found = true
				second = func() (bool, int64, error) { return keep(i, at, e.Length) }
			}
		}
	}
	return second()
}

// kept returns the copy of id that addPresent marked.
func (m *marks) kept(id ID) (table int, entry int64, ok bool) {
	for i, t := range m.set.tables {
		first, after, err := t.Find(id)
		if err != nil {
			continue
		}
		for at := first; at < after; at++ {
			if m.marked(i, at) {
				return i, at, true
			}
		}
	}
	return 0, 0, false
}

// Exclusive returns, for each of some points, the bytes of records that
// nothing else names once it and those before it are dropped: the sum is what
// dropping them all frees. It walks maps and reads no data.
func (v *Vault) Exclusive(ctx context.Context, points []*Point) ([]int64, error) {
	all, err := v.allPoints(ctx, v.dir.List)
	if err != nil {
		return nil, err
	}
	mine := map[PointID]bool{}
	for _, p := range points {
		mine[p.ID] = true
	}
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	m := newMarks(v.tables.Load())
	there := func(pack.ID) bool { return true }
	for _, p := range all {
		if !mine[p.ID] {
			if _, err := v.markPoint(ctx, m, p, there); err != nil {
				return nil, fmt.Errorf("point %s@%s: %w", p.MachineName, p.ID, err)
			}
		}
	}
	sizes := make([]int64, len(points))
	for i := len(points) - 1; i >= 0; i-- {
		if sizes[i], err = v.markPoint(ctx, m, points[i], there); err != nil {
			return nil, fmt.Errorf("point %s@%s: %w", points[i].MachineName, points[i].ID, err)
		}
	}
	return sizes, nil
}
