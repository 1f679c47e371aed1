package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
	"unicode/utf8"
)

// How long a deleted point stays in the trash, in days.
const (
	DefaultTrashDays = 14
	MaxTrashDays     = 3650
)

// Errors of forgetting.
var (
	ErrLocked     = errors.New("locked")
	ErrNotDeleted = errors.New("not in the trash")
)

// PointState is what the attributes of a point come to.
type PointState struct {
	Deleted time.Time // since when it is in the trash; zero: it is not
	Stays   time.Time // in the trash until then; zero: as long as is usual in the vault
	Until   time.Time // locked until then; zero: never was
	Note    string    // the newest
	// Verified is the time since when all of it was read back; zero: never.
	Verified time.Time
}

// InTrash tells whether the point is deleted.
func (s PointState) InTrash() bool { return !s.Deleted.IsZero() }

// Locked tells whether the point must not be dropped at a time.
func (s PointState) Locked(now time.Time) bool { return now.Before(s.Until) }

// Expires is when a point in the trash may be dropped: days after its deletion,
// unless another time was said then, and not before its lock ends.
func (s PointState) Expires(days int) time.Time {
	at := s.Stays
	if at.IsZero() {
		at = s.Deleted.Add(time.Duration(days) * 24 * time.Hour)
	}
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
				s.Deleted, s.Stays = a.Time, a.Until
			}
		case Undeleted:
			s.Deleted, s.Stays = time.Time{}, time.Time{}
		case Verified:
			if a.Time.After(s.Verified) {
				s.Verified = a.Time
			}
		case Locked:
			if a.Until.After(s.Until) {
				s.Until = a.Until
			}
		case Note:
			s.Note = a.Text
		}
	}
	return s
}

// State returns what the attributes of a point come to.
func (v *Vault) State(p *Point) (PointState, error) {
	attrs, err := v.Attributes(p)
	s := stateOf(attrs)
	verified, e := v.verifiedOf(p.Machine, v.dir.List)
	if at := verified[p.ID]; at.After(s.Verified) {
		s.Verified = at
	}
	return s, errors.Join(err, e)
}

// States is State of many points, in their order: it asks for the attributes of those alone that have any.
func (v *Vault) States(points []*Point) ([]PointState, error) {
	return v.states(points, once(v.dir.Glance))
}

func (v *Vault) states(points []*Point, list lister) ([]PointState, error) {
	attributed := map[PointID]MachineID{}
	err := v.eachAttributed(list, func(m MachineID, p PointID) error {
		attributed[p] = m
		return nil
	})
	told, e := list(attrsDir) // of machines that have any
	errs := []error{err, e}
	verified := map[MachineID]map[PointID]time.Time{}
	states := make([]PointState, len(points))
	for i, p := range points {
		since, known := verified[p.Machine]
		if !known && slices.Contains(told, string(p.Machine)) {
			since, err = v.verifiedOf(p.Machine, list)
			errs = append(errs, err)
		}
		verified[p.Machine] = since
		if attributed[p.ID] == p.Machine {
			attrs, err := v.Attributes(p)
			states[i], errs = stateOf(attrs), append(errs, err)
		}
		if at := since[p.ID]; at.After(states[i].Verified) {
			states[i].Verified = at
		}
	}
	return states, errors.Join(errs...)
}

// Trash returns the deleted points, in the order of [Vault.Points].
func (v *Vault) Trash(ctx context.Context) ([]*Point, error) {
	_, trash, err := v.PointsAndTrash(ctx)
	return trash, err
}

// Delete moves a point to the trash. One that is there is no error. A locked
// point can be deleted, and is not dropped before its lock ends. ErrClock: the trash
// would be emptied at a wrong time.
func (o *Owner) Delete(p *Point) error {
	return o.change(p, Attribute{Kind: Deleted}, func(s PointState) (bool, error) { return !s.InTrash(), nil })
}

// DeleteFor is Delete for a point that stays in the trash for a number of days; 0: as
// many as is usual in the vault. A point that is in the trash already stays as long as was said then.
func (o *Owner) DeleteFor(p *Point, days int) error {
	if days == 0 {
		return o.Delete(p)
	}
	if days < 0 || days > MaxTrashDays {
		return fmt.Errorf("delete point %s@%s: %d days in the trash: choose 1 to %d", p.MachineName, p.ID, days, MaxTrashDays)
	}
	until := o.now().Add(time.Duration(days) * 24 * time.Hour)
	return o.change(p, Attribute{Kind: Deleted, Until: until}, func(s PointState) (bool, error) { return !s.InTrash(), nil })
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

// Lock keeps a point from being dropped before a time, which is later than now
// and that of any lock that it has. Nothing ends a lock early.
func (o *Owner) Lock(p *Point, until time.Time) error {
	until = until.UTC()
	if !until.After(o.now()) {
		return fmt.Errorf("lock point %s@%s until %s: that is over", p.MachineName, p.ID, until.Format(time.RFC3339))
	}
	return o.change(p, Attribute{Kind: Locked, Until: until}, func(s PointState) (bool, error) {
		if until.Before(s.Until) {
			return false, fmt.Errorf("point %s@%s: %w until %s, and a lock never gets shorter",
				p.MachineName, p.ID, ErrLocked, s.Until.Format(time.RFC3339))
		}
		return until.After(s.Until), nil
	})
}

// maxNote is the longest text of a note, in bytes.
const maxNote = 4096

// Note adds a text to a point, in place of the one that it has; an empty one
// takes that away.
func (o *Owner) Note(p *Point, text string) error {
	if len(text) > maxNote || !utf8.ValidString(text) {
		return fmt.Errorf("note of point %s@%s: at most %d bytes of UTF-8", p.MachineName, p.ID, maxNote)
	}
	return o.change(p, Attribute{Kind: Note, Text: text}, func(s PointState) (bool, error) { return s.Note != text, nil })
}

// change appends an attribute when allow says so, which sees the state before.
// Attributes are read and appended under one lock, which dropping holds, too.
func (o *Owner) change(p *Point, a Attribute, allow func(PointState) (bool, error)) error {
	return o.unlessHung(func() error { return o.changeNow(p, a, allow) })
}

func (o *Owner) changeNow(p *Point, a Attribute, allow func(PointState) (bool, error)) error {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	if _, err := o.dir.Size(pointPath(p.Machine, p.Seq, p.ID)); err != nil {
		if isNotExist(err) {
			return fmt.Errorf("point %s@%s: %w: it was dropped", p.MachineName, p.ID, ErrNotFound)
		}
		return err
	}
	if o.tables.Load().dropped()[pointPath(p.Machine, p.Seq, p.ID)] {
		return fmt.Errorf("point %s@%s: %w: it was dropped", p.MachineName, p.ID, ErrNotFound)
	}
	attrs, err := o.Attributes(p)
	if err != nil {
		return err
	}
	if ok, err := allow(stateOf(attrs)); err != nil || !ok {
		return err
	}
	a.Time = o.now()
	err = o.trust(context.Background(), a.Time)
	if errors.Is(err, ErrClock) && a.Kind != Deleted && a.Kind != Locked {
		// What harms nobody is done, and its date is one that is believed.
		err, a.Time = nil, p.Committed
		if n := len(attrs); n > 0 {
			a.Time = attrs[n-1].Time
		}
	}
	if err != nil {
		return fmt.Errorf("point %s@%s: %w", p.MachineName, p.ID, err)
	}
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	a.Point, a.Seq = p.ID, 1
	if n := len(attrs); n > 0 {
		a.Seq = attrs[n-1].Seq + 1
	}
	return o.writeRecord(attributeKind, attrPath(p.Machine, p.ID, a.Seq), a)
}

// due tells whether a point may be dropped by what its attributes say. Where
// one of them is lost, it may have been a lock.
func (o *Owner) due(p *Point, attrs []*Attribute, early bool, now time.Time) bool {
	for i, a := range attrs {
		switch a.Kind {
		case Deleted, Undeleted, Locked, Verified, Note:
		default:
			o.warn(fmt.Sprintf("point %s@%s stays: it has an attribute of kind %.40q, which this version does not know", p.MachineName, p.ID, a.Kind))
			return false
		}
		if a.Seq != uint64(i+1) {
			o.warn(fmt.Sprintf("point %s@%s stays: attribute %d is lost, which may have locked or undeleted it", p.MachineName, p.ID, i+1))
			return false
		}
	}
	s := stateOf(attrs)
	return s.InTrash() && !s.Locked(now) && (early || !now.Before(s.Expires(o.trashDays())))
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

// mayDropNot takes back what mayDrop said.
func (o *Owner) mayDropNot(id PointID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.dropping, id)
}

func (o *Owner) removeAttributes(m MachineID, p PointID) error {
	folder := path.Join(attrsDir, string(m), string(p))
	names, err := o.dir.List(folder)
	if err != nil {
		return err
	}
	for i, n := range names {
		names[i] = path.Join(folder, n)
	}
	if err := o.dir.Discard(names...); err != nil { // what comes back is finishDrops' to remove
		return err
	}
	return o.dir.RemoveDir(folder)
}

func (v *Vault) trashDays() int {
	if v.head.TrashDays > 0 {
		return v.head.TrashDays
	}
	return DefaultTrashDays
}
