package blockstore

import (
	"errors"
	"fmt"
	"path"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// What a segment says was dropped stays dropped. A record that is there all the
// same, because the process ended between the two or because somebody brought it back from a copy of
// the vault, is not listed, and goes when the vault is next opened after an
// unclean end or swept: the packs that it names may be gone. Segments remember
// the last maxDropped points that were dropped. The record of an older one that comes back is a
// point again; check and sweep say so if what it names is not there.

// maxDropped is how many dropped points segments remember; 64 bytes each.
const maxDropped = 1 << 16

// dropped returns the paths of points that some table says were dropped.
func (s *tableSet) dropped() map[string]bool {
	if known := s.gone.Load(); known != nil {
		return *known
	}
	gone := map[string]bool{}
	for _, t := range s.tables {
		// Their lists of points were verified when they were opened.
		_ = t.EachPoint(func(p segment.Point) error {
			if p.Event == segment.Dropped {
				gone[p.Path] = true
			}
			return nil
		})
	}
	s.gone.Store(&gone)
	return gone
}

// A drop is told twice, as long as any segment tells of the commit: were its one segment
// lost, the point would come back, and what it names may be gone. The second
// time is before anything goes that only the point names. A merge makes
// one of two again, and is followed by the second.

// tellDropsTwice writes a segment that names the sealed packs that none names,
// and repeats the drops that one alone tells of. The caller holds committing.
func (o *Owner) tellDropsTwice() error {
	once, err := o.toldOnce()
	if err != nil {
		return err
	}
	return o.writeSegment(once)
}

// toldOnce returns the drops that one segment tells of while any tells of the
// commit.
func (o *Owner) toldOnce() (once []segment.Point, err error) {
	tables := o.tables.Load().tables
	times := map[string]int{}
	count := func(wanted segment.Event, note func(string)) error {
		for _, t := range tables {
			err := t.EachPoint(func(p segment.Point) error {
				if p.Event == wanted {
					note(p.Path)
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := count(segment.Dropped, func(p string) { times[p]++ }); err != nil || len(times) == 0 {
		return nil, err
	}
	err = count(segment.Committed, func(p string) {
		if times[p] == 1 {
			times[p] = 2
			once = append(once, segment.Point{Event: segment.Dropped, Path: p})
		}
	})
	return once, err
}

// finishDrops removes what is left of points that were dropped: records that
// are there all the same, and attributes of points that are not.
func (o *Owner) finishDrops() error {
	if err := o.mayRemove(); errors.Is(err, ErrHeld) {
		return nil // the next owner or sweep does
	} else if err != nil {
		return err
	}
	o.attributing.Lock()
	defer o.attributing.Unlock()
	paths, err := pointPaths(o.dir.List)
	if err != nil {
		return err
	}
	gone, there := o.tables.Load().dropped(), map[string]bool{}
	for _, p := range paths {
		if !gone[p] {
			there[p] = true
			continue
		}
		if err := o.stillOwner(o.claim); err != nil {
			return err
		}
		if err := o.dir.Remove(p); err != nil {
			return err
		}
		o.warn(fmt.Sprintf("point %s was dropped; what was left of it, or came back, was removed", path.Base(p)))
	}
	left := map[string]bool{} // points by machine and id whose record is gone for good
	for p := range gone {
		if _, id, ok := parseNumbered(path.Base(p)); ok && !there[p] {
			left[path.Join(path.Base(path.Dir(p)), id)] = true
		}
	}
	return o.eachAttributed(o.dir.List, func(m MachineID, p PointID) error {
		if !left[path.Join(string(m), string(p))] {
			return nil
		}
		return o.removeAttributes(m, p)
	})
}

// lostPoints returns the points that segments tell as committed and not as
// dropped, and whose record is not there.
func (o *Owner) lostPoints() (lost []*Point, err error) {
	o.committing.Lock()
	defer o.committing.Unlock()
	paths, err := pointPaths(o.dir.List)
	if err != nil {
		return nil, err
	}
	no := map[string]bool{}
	for _, p := range paths {
		no[p] = true
	}
	for _, p := range o.undone {
		no[p.Path] = true
	}
	set := o.tables.Load()
	gone := set.dropped()
	for _, t := range set.tables {
		err := t.EachPoint(func(told segment.Point) error {
			if told.Event != segment.Committed || no[told.Path] || gone[told.Path] {
				return nil
			}
			no[told.Path] = true
			p, err := o.decodePoint(told.Path, told.Record)
			if err == nil {
				lost = append(lost, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// noneLost returns an error while a point is lost that could not be put back:
// what it names may still serve it.
func (o *Owner) noneLost() error {
	lost, err := o.lostPoints()
	if err != nil || len(lost) == 0 {
		return err
	}
	p := lost[0]
	return fmt.Errorf("nothing was removed, since the record of point %s@%s is lost and could not be put back (%d in all)",
		p.MachineName, p.ID, len(lost))
}
