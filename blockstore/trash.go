package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// DefaultTrashDays is how long a deleted point stays in the trash.
const DefaultTrashDays = 14

// Errors of forgetting.
var (
	ErrLocked     = errors.New("locked")
	ErrNotDeleted = errors.New("not in the trash")
)

// PointState is what the attributes of a point come to.
type PointState struct {
	Deleted time.Time // since when it is in the trash; zero: it is not
	Until   time.Time // locked until then; zero: never was
}

// InTrash tells whether the point is deleted.
func (s PointState) InTrash() bool { return !s.Deleted.IsZero() }

// Locked tells whether the point must not be dropped at a time.
func (s PointState) Locked(now time.Time) bool { return now.Before(s.Until) }

// Expires is when a point in the trash may be dropped, days after its
// deletion and not before its lock ends.
func (s PointState) Expires(days int) time.Time {
	at := s.Deleted.Add(time.Duration(days) * 24 * time.Hour)
	if s.Until.After(at) {
		return s.Until
	}
	return at
}

func stateOf(attrs []*Attribute) (s PointState) {
	for _, a := range attrs {
		switch a.Kind {
		case Deleted:
			if !s.InTrash() {
				s.Deleted = a.Time
			}
		case Undeleted:
			s.Deleted = time.Time{}
		case Locked:
			if a.Until.After(s.Until) {
				s.Until = a.Until
			}
		}
	}
	return s
}

// State returns what the attributes of a point come to.
func (v *Vault) State(p *Point) (PointState, error) {
	attrs, err := v.Attributes(p)
	return stateOf(attrs), err
}

// Trash returns the deleted points, in the order of [Vault.Points].
func (v *Vault) Trash(ctx context.Context) ([]*Point, error) {
	all, err := v.allPoints(ctx)
	trash, attrErr := v.trash()
	var points []*Point
	for _, p := range all {
		if trash[p.ID] {
			points = append(points, p)
		}
	}
	sortPoints(points)
	return points, errors.Join(err, attrErr)
}

// Delete moves a point to the trash. One that is there is no error. A locked
// point can be deleted, and is not dropped before its lock ends.
func (o *Owner) Delete(p *Point) error {
	return o.change(p, Attribute{Kind: Deleted}, func(s PointState) (bool, error) { return !s.InTrash(), nil })
}

// Undelete takes a point out of the trash.
func (o *Owner) Undelete(p *Point) error {
	return o.change(p, Attribute{Kind: Undeleted}, func(s PointState) (bool, error) {
		if !s.InTrash() {
			return false, fmt.Errorf("point %s@%s: %w", p.MachineName, p.ID, ErrNotDeleted)
		}
		return true, nil
	})
}

// Lock keeps a point from being dropped before a time, which is later than
// that of any lock that it has.
func (o *Owner) Lock(p *Point, until time.Time) error {
	until = until.UTC()
	return o.change(p, Attribute{Kind: Locked, Until: until}, func(s PointState) (bool, error) {
		if until.Before(s.Until) {
			return false, fmt.Errorf("point %s@%s: %w until %s, and a lock never gets shorter",
				p.MachineName, p.ID, ErrLocked, s.Until.Format(time.RFC3339))
		}
		return until.After(s.Until), nil
	})
}

// change appends an attribute when allow says so, which sees the state before.
// Attributes are read and appended under one lock, which dropping holds, too.
func (o *Owner) change(p *Point, a Attribute, allow func(PointState) (bool, error)) error {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	if _, err := o.dir.Size(pointPath(p.Machine, p.Seq, p.ID)); err != nil {
		if isNotExist(err) {
			return fmt.Errorf("point %s@%s: %w: it was dropped", p.MachineName, p.ID, ErrNotFound)
		}
		return err
	}
	attrs, err := o.Attributes(p)
	if err != nil {
		return err
	}
	if ok, err := allow(stateOf(attrs)); err != nil || !ok {
		return err
	}
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	a.Point, a.Seq, a.Time = p.ID, 1, time.Now().UTC()
	if n := len(attrs); n > 0 {
		a.Seq = attrs[n-1].Seq + 1
	}
	return o.writeRecord(attributeKind, attrPath(p.Machine, p.ID, a.Seq), a)
}

// drop removes a point for good, if it is in the trash, not locked, and its
// time there is over; with early, that time does not count. A parent of a
// running backup stays. It tells whether the point is gone.
//
// A segment says that it is dropped before its record goes, so that nobody puts it back; its
// attributes go last, so that an end in between leaves nothing that looks undeleted.
func (o *Owner) drop(p *Point, early bool, now time.Time) (bool, error) {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	attrs, err := o.Attributes(p)
	if err != nil {
		return false, err
	}
	s := stateOf(attrs)
	if !s.InTrash() || s.Locked(now) || !early && now.Before(s.Expires(o.trashDays())) || !o.mayDrop(p.ID) {
		return false, nil
	}
	if err := o.stillOwner(o.claim); err != nil {
		return false, err
	}
	name := pointPath(p.Machine, p.Seq, p.ID)
	o.committing.Lock()
	err = o.writeSegment([]segment.Point{{Event: segment.Dropped, Path: name}})
	o.committing.Unlock()
	if err != nil {
		return false, err
	}
	o.opts.Event("point.dropping")
	if err := o.dir.Remove(name); err != nil {
		return false, err
	}
	o.history.drop(p)
	o.opts.Event("point.dropped")
	return true, o.removeAttributes(p)
}

// mayDrop refuses the parent of a running backup, and keeps a point from
// becoming one.
func (o *Owner) mayDrop(id PointID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.parents[id] {
		return false
	}
	o.dropping[id] = true
	return true
}

func (o *Owner) removeAttributes(p *Point) error {
	folder := path.Join(attrsDir, string(p.Machine), string(p.ID))
	names, err := o.dir.List(folder)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := o.dir.Remove(path.Join(folder, n)); err != nil {
			return err
		}
	}
	return o.dir.RemoveDir(folder)
}

func (o *Owner) trashDays() int {
	if o.head.TrashDays > 0 {
		return o.head.TrashDays
	}
	return DefaultTrashDays
}
