package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// NoteVerified tells of each point that a check of data examined, and that
// nothing harms, since when all of the vault was read back. Points that were told so since, or
// were committed since, are left as they are. It returns how many it told. It
// writes one record for each machine, whatever the number of its points, in place
// of the one before.
func (o *Owner) NoteVerified(ctx context.Context, r *CheckReport) (count int, err error) {
	if r.ReadSince.IsZero() {
		return 0, nil
	}
	harmed := map[PointID]bool{}
	for _, f := range r.Faults {
		for _, h := range f.Harms {
			harmed[h.Point] = true
		}
	}
	since := r.ReadSince.UTC()
	good := map[MachineID][]*Point{}
	for _, p := range r.examined {
		if !harmed[p.ID] && p.Committed.Before(since) {
			good[p.Machine] = append(good[p.Machine], p)
		}
	}
	for m, points := range good {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		err := o.unlessHung(func() error {
			told, err := o.noteVerified(m, points, since)
			count += told
			return err
		})
		if err != nil {
			return count, fmt.Errorf("note what of machine %s was read back: %w", m, err)
		}
	}
	return count, nil
}

// noteVerified writes the record of one machine and removes those before it.
func (o *Owner) noteVerified(m MachineID, points []*Point, since time.Time) (told int, err error) {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	old, err := o.machineAttributes(m)
	if err != nil {
		return 0, err
	}
	a := Attribute{Kind: Verified, Seq: 1, Time: since}
	for _, p := range points {
		s, err := o.State(p)
		if err != nil {
			return 0, err
		}
		_, err = o.dir.Size(pointPath(p.Machine, p.Seq, p.ID))
		if isNotExist(err) {
			continue // dropped meanwhile
		}
		if err != nil {
			return 0, err
		}
		if s.Verified.Before(since) {
			told++
		}
		a.Points = append(a.Points, p.ID)
	}
	if told == 0 {
		return 0, nil
	}
	if err := o.stillOwner(o.claim); err != nil {
		return 0, err
	}
	for _, b := range old {
		a.Seq = max(a.Seq, b.Seq+1)
	}
	name := path.Join(attrsDir, string(m), numbered(a.Seq, randomHex(4)))
	if err := o.writeRecord(attributeKind, name, a); err != nil {
		return 0, err
	}
	for _, b := range old {
		if err := o.dir.Remove(b.path); err != nil {
			return told, err
		}
	}
	return told, nil
}

// machineAttribute is an attribute that tells of several points of a machine.
type machineAttribute struct {
	*Attribute
	path string
}

// machineAttributes returns what is told of points of a machine together,
// oldest first.
func (v *Vault) machineAttributes(m MachineID) ([]machineAttribute, error) {
	names, err := v.dir.List(path.Join(attrsDir, string(m)))
	if err != nil {
		return nil, err
	}
	return v.machineAttributesOf(m, names)
}

func (v *Vault) machineAttributesOf(m MachineID, names []string) ([]machineAttribute, error) {
	folder := path.Join(attrsDir, string(m))
	var attrs []machineAttribute
	var errs []error
	for _, n := range names {
		if _, _, ok := parseNumbered(n); !ok {
			continue // of one point
		}
		name := path.Join(folder, n)
		a, err := v.attribute(name)
		if err == nil && a != nil && a.Kind != Verified { // another version, another meaning
			err = fmt.Errorf("read %s: an attribute of kind %.20q of several points: %w", name, a.Kind, ErrVersion)
		}
		if err != nil {
			errs = append(errs, err)
		} else if a != nil {
			attrs = append(attrs, machineAttribute{a, name})
		}
	}
	slices.SortStableFunc(attrs, func(a, b machineAttribute) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.Time.Compare(b.Time))
	})
	return attrs, errors.Join(errs...)
}

// verifiedPoints is since when points of a machine were read back, as the records of these names tell. Records
// never change.
type verifiedPoints struct {
	names []string
	since map[PointID]time.Time
}

// verifiedOf tells since when the points of a machine were read back. It reads
// records again only when there are others.
func (v *Vault) verifiedOf(m MachineID, list lister) (map[PointID]time.Time, error) {
	names, err := list(path.Join(attrsDir, string(m)))
	if err != nil || len(names) == 0 {
		return nil, err
	}
	c := &v.points
	c.mu.Lock()
	known, ok := c.verified[m]
	c.mu.Unlock()
	if ok && slices.Equal(known.names, names) {
		return known.since, nil
	}
	attrs, err := v.machineAttributesOf(m, names)
	if err != nil {
		return nil, err
	}
	since := map[PointID]time.Time{}
	for _, a := range attrs {
		for _, p := range a.Points {
			since[p] = a.Time
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verified == nil {
		c.verified = map[MachineID]verifiedPoints{}
	}
	c.verified[m] = verifiedPoints{names, since}
	return since, nil
}
