package blockstore

import (
	"context"
	"path"
	"slices"
	"sync"
	"time"
)

// history is what an owner knows of the points that there are, so that a
// commit costs the same however many those are. The owner is the only one who
// makes and drops points; it reads them once.
type history struct {
	mu     sync.Mutex             // taken after Owner.mu and Owner.committing
	points map[MachineID][]*Point // each machine's, oldest first; nil: not read yet
	seqs   map[MachineID]uint64   // the highest number used; of records that cannot be read, too
	newest time.Time              // of the commits
	// dropped are paths of points that segments tell as dropped; nil: not read yet
	dropped map[string]bool
}

// load reads the points that are there, once. What cannot be read serves nobody
// as parent.
func (h *history) load(ctx context.Context, o *Owner) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.points != nil {
		return nil
	}
	paths, err := pointPaths(o.dir.List)
	if err != nil {
		return err
	}
	all, err := o.allPoints(ctx, o.dir.List)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		o.warn(err.Error())
	}
	if err := o.healPoints(); err != nil {
		return err
	}
	h.points, h.seqs = map[MachineID][]*Point{}, map[MachineID]uint64{}
	for _, p := range paths {
		if seq, _, ok := parseNumbered(path.Base(p)); ok {
			m := MachineID(path.Base(path.Dir(p)))
			h.seqs[m] = max(h.seqs[m], seq)
		}
	}
	for _, p := range all {
		h.enter(p)
	}
	for m, points := range h.points {
		slices.SortFunc(points, (*Point).Compare)
		if _, err := o.machine(m); err != nil {
			if err := o.machineAgain(ctx, m, points[len(points)-1].MachineName); err != nil {
				o.warn(err.Error())
			}
		}
	}
	return nil
}

// enter notes a point. The caller holds mu.
func (h *history) enter(p *Point) {
	h.points[p.Machine] = append(h.points[p.Machine], p)
	h.seqs[p.Machine] = max(h.seqs[p.Machine], p.Seq)
	if p.Committed.After(h.newest) {
		h.newest = p.Committed
	}
}

// stamp gives a point its number, unless it has one from another vault, and the
// time of its commit, which is after that of every other. Numbers are not used
// twice, whatever becomes of the point.
func (h *history) stamp(p *Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.Seq == 0 {
		h.seqs[p.Machine]++
		p.Seq = h.seqs[p.Machine]
	}
	p.Committed = time.Now().UTC()
	if !p.Committed.After(h.newest) {
		p.Committed = h.newest.Add(time.Nanosecond)
	}
	h.newest = p.Committed
}

// add notes a point that was committed. One from another vault may be older
// than others.
func (h *history) add(p *Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enter(p)
	slices.SortFunc(h.points[p.Machine], (*Point).Compare) // all but sorted
}

// putBack notes a point that was there before, if the others were read.
func (h *history) putBack(p *Point) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.points != nil {
		h.enter(p)
		slices.SortFunc(h.points[p.Machine], (*Point).Compare)
	}
}

// drop forgets a point.
func (h *history) drop(m MachineID, id PointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = nil
	if h.points == nil {
		return
	}
	h.points[m] = slices.DeleteFunc(h.points[m], func(p *Point) bool { return p.ID == id })
}

// newestOf returns the newest point of a machine that use accepts, or nil.
func (h *history) newestOf(m MachineID, use func(*Point) bool) *Point {
	h.mu.Lock()
	points := slices.Clone(h.points[m])
	h.mu.Unlock()
	for _, p := range slices.Backward(points) {
		if use(p) {
			return p
		}
	}
	return nil
}

// machineOf returns the machine that the newest point of a name belongs to.
func (h *history) machineOf(name string) (id MachineID, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var newest time.Time
	for m, points := range h.points {
		for _, p := range points {
			if p.MachineName == name && p.Committed.After(newest) {
				id, ok, newest = m, true, p.Committed
			}
		}
	}
	return id, ok
}
