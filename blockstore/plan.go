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
// machine. It walks each map once, and reads no data.
func (v *Vault) PlanFree(ctx context.Context, bytes int64) (*FreePlan, error) {
	w, err := v.weighing(ctx)
	if err != nil {
		return nil, err
	}
	kept, free, trash, err := w.sort()
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
}

func (v *Vault) weighing(ctx context.Context) (*weighing, error) {
	points, err := v.allPoints(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	return &weighing{v, newMarks(v.tables.Load()), points}, nil
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
func (w *weighing) sort() (kept, free, trash []*Point, err error) {
	newest := map[MachineID]*Point{}
	var listed []*Point
	for _, p := range w.points {
		s, err := w.v.State(p)
		locked := s.Until.After(time.Now())
		switch {
		case err != nil:
			return nil, nil, nil, err
		case s.InTrash() && !locked:
			trash = append(trash, p)
			continue
		case s.InTrash() || locked:
			kept = append(kept, p)
		default:
			listed = append(listed, p)
		}
		if q := newest[p.Machine]; !s.InTrash() && (q == nil || q.Compare(p) < 0) {
			newest[p.Machine] = p
		}
	}
	for _, p := range listed {
		if newest[p.Machine] == p {
			kept = append(kept, p)
		} else {
			free = append(free, p)
		}
	}
	return kept, free, trash, nil
}
