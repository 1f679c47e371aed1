package blockstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Planned is a point that could be given up.
type Planned struct {
	*Point
	Frees int64 // bytes that dropping it frees once those before it are dropped
}

// FreePlan is what to give up for some space. Sizes are bytes of records.
type FreePlan struct {
	Wanted int64
	Trash  int64     // what emptying the trash frees, which comes first; locked points stay
	Points []Planned // oldest first; none where the trash is enough
	Frees  int64     // all that together; less than Wanted: there is no more
}

// PlanFree says what to give up for so many bytes: the trash, and then points,
// oldest first, none that is locked, none that is the last good one of its
// machine: one that names what is noted as damaged, or gone, is not good. It
// walks each map once, those of each machine's newest points twice where
// anything is noted, and reads no data.
func (v *Vault) PlanFree(ctx context.Context, bytes int64) (*FreePlan, error) {
	all, err := v.allPoints(ctx, v.dir.List)
	if err != nil {
		return nil, err
	}
	w, err := v.weighing(ctx, all, v.dir.List)
	if err != nil {
		return nil, err
	}
	kept, free, trash, err := w.sort(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range kept {
		if _, err := w.mark(ctx, p); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(free, func(p, q *Point) int { return p.Committed.Compare(q.Committed) })
	sizes := make([]int64, len(free))
	for i, p := range slices.Backward(free) { // what newer ones share with older ones, these do not free
		if sizes[i], err = w.mark(ctx, p); err != nil {
			return nil, err
		}
	}
	plan := &FreePlan{Wanted: bytes}
	for _, p := range trash {
		n, err := w.mark(ctx, p)
		if err != nil {
			return nil, err
		}
		plan.Trash += n
	}
	plan.Frees = plan.Trash
	for i, p := range free {
		if plan.Frees >= bytes {
			break
		}
		plan.Points = append(plan.Points, Planned{p, sizes[i]})
		plan.Frees += sizes[i]
	}
	return plan, nil
}

// weighing finds out what points share, in one pass over their maps.
type weighing struct {
	v      *Vault
	m      *marks
	points []*Point
	gone   map[pack.ID]bool // packs that segments name, that are not there, and that no sweep removed
}

// weighing begins to weigh points; those that are not to be marked need not be given.
func (v *Vault) weighing(ctx context.Context, points []*Point, list lister) (_ *weighing, err error) {
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	w := &weighing{v: v, m: newMarks(v.tables.Load()), points: points, gone: map[pack.ID]bool{}}
	if w.m.noted, _, err = v.damageNotes(ctx); err != nil {
		return nil, err
	}
	swept, err := v.removedBySweep()
	if err != nil {
		return nil, err
	}
	for _, t := range w.m.set.tables {
		for _, p := range t.Packs {
			if !swept[packPath(writerID(t.Writer), p.ID)] {
				w.gone[p.ID] = true
			}
		}
	}
	err = v.eachPack(list, func(_ WriterID, id pack.ID) error { delete(w.gone, id); return ctx.Err() })
	return w, err
}

// mark marks what a point names and returns the bytes that were not marked
// before.
func (w *weighing) mark(ctx context.Context, p *Point) (int64, error) {
	n, err := w.v.markPoint(ctx, w.m, p, func(pack.ID) bool { return true })
	if err != nil {
		return 0, fmt.Errorf("point %s@%s: %w", p.MachineName, p.ID, err)
	}
	return n, nil
}

// sort tells points that are kept from those that can be given up, and those
// in the trash that will be dropped.
func (w *weighing) sort(ctx context.Context) (kept, free, trash []*Point, err error) {
	machines := map[MachineID][]*Point{} // those that are not in the trash
	locked := map[*Point]bool{}
	for _, p := range w.points {
		s, err := w.v.State(p)
		if err != nil {
			return nil, nil, nil, err
		}
		locked[p] = s.Locked(time.Now())
		switch {
		case s.InTrash() && !locked[p]:
			trash = append(trash, p)
		case s.InTrash():
			kept = append(kept, p)
		default:
			machines[p.Machine] = append(machines[p.Machine], p)
		}
	}
	for _, points := range machines {
		slices.SortFunc(points, (*Point).Compare)
		last, err := w.lastGood(ctx, points)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, p := range points {
			if locked[p] || p == last {
				kept = append(kept, p)
			} else {
				free = append(free, p)
			}
		}
	}
	return kept, free, trash, nil
}

// lastGood returns the newest of a machine's points that nothing harms, or the
// newest where there is no such.
func (w *weighing) lastGood(ctx context.Context, points []*Point) (*Point, error) {
	for _, p := range slices.Backward(points) {
		good, err := w.isGood(ctx, p)
		if err != nil {
			return nil, err
		}
		if good {
			return p, nil
		}
	}
	return points[len(points)-1], nil
}

// isGood tells whether all that a point names is in a pack that is there and not noted
// as damaged there.
func (w *weighing) isGood(ctx context.Context, p *Point) (bool, error) {
	if len(w.m.noted) == 0 && len(w.gone) == 0 {
		return true, nil
	}
	whole := newMarks(w.m.set)
	harmed := false
	whole.noted = w.m.noted
	_, err := w.v.markPoint(ctx, whole, p, func(id pack.ID) bool { return !w.gone[id] })
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		return false, nil
	}
	for id, notes := range w.m.noted {
		table, entry, ok := whole.kept(id)
		if !ok {
			continue
		}
		e, err := whole.set.tables[table].Entry(entry)
		if err != nil {
			return false, nil
		}
		harmed = harmed || notes[pack.ID(whole.set.tables[table].Packs[e.Pack].ID)] != nil
	}
	return !harmed, nil
}
