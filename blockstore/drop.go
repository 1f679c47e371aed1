package blockstore

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// dropTogether is how many points one segment tells as dropped, at most; who
// appends an attribute waits meanwhile.
const dropTogether = 100

// dropAll removes points for good that are in the trash, not locked, and whose time
// there is over; where early says so, that time does not count. Parents of running
// backups stay. It returns those that are gone.
//
// A segment says that they are dropped before their records go: from then on nobody
// lists them or puts them back. Their attributes go last. An end in between is made up
// for by finishDrops.
func (o *Owner) dropAll(points []*Point, early func(*Point) bool, now time.Time) (gone []*Point, err error) {
	for group := range slices.Chunk(points, o.dropTogether) {
		dropped, err := o.dropGroup(group, early, now)
		gone = append(gone, dropped...)
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

func (o *Owner) dropGroup(points []*Point, early func(*Point) bool, now time.Time) (due []*Point, err error) {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	for _, p := range points {
		attrs, err := o.Attributes(p)
		if err != nil {
			return nil, fmt.Errorf("drop point %s@%s: %w", p.MachineName, p.ID, err)
		}
		if o.due(p, attrs, early(p), now) {
			due = append(due, p)
		}
	}
	due = slices.DeleteFunc(due, func(p *Point) bool { return !o.mayDrop(p.ID) })
	var records []droppedPoint
	for _, p := range due {
		records = append(records, droppedPoint{pointPath(p.Machine, p.Seq, p.ID), p.Machine, p.ID})
	}
	if err := o.forget(records...); err != nil {
		return nil, fmt.Errorf("drop %d points: %w", len(due), err)
	}
	return due, nil
}

// droppedPoint is a point that goes, and where its record lies.
type droppedPoint struct {
	name    string
	machine MachineID
	id      PointID
}

// forget removes points that mayDrop allowed, and their attributes, for good. The
// caller holds attributing.
func (o *Owner) forget(points ...droppedPoint) error {
	if len(points) == 0 {
		return nil
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	var events []segment.Point
	for _, p := range points {
		events = append(events, segment.Point{Event: segment.Dropped, Path: p.name})
	}
	told := false
	err := o.removing(func() error {
		if err := o.writeSegment(events); err != nil {
			return err
		}
		told = true
		return o.forgetTold(points)
	})
	if !told {
		for _, p := range points {
			o.mayDropNot(p.id)
		}
	}
	return err
}

// forgetTold removes points that a segment tells as dropped. The caller holds
// attributing and committing.
func (o *Owner) forgetTold(points []droppedPoint) error {
	var names []string
	for _, p := range points {
		names = append(names, p.name)
	}
	o.opts.Event("point.dropping")
	if err := o.dir.Remove(names...); err != nil {
		return err
	}
	for _, p := range points {
		o.history.drop(p.machine, p.id)
	}
	o.opts.Event("point.dropped")
	for _, p := range points {
		if err := o.removeAttributes(p.machine, p.id); err != nil {
			return err
		}
	}
	return nil
}
