package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// AttributeKind says what an attribute tells of its point.
type AttributeKind string

// The kinds of attributes.
const (
	Deleted   AttributeKind = "deleted"   // in the trash from Time on
	Undeleted AttributeKind = "undeleted" // out of it again
	Locked    AttributeKind = "locked"    // not to be dropped before Until
	Verified  AttributeKind = "verified"  // all of it was read back since Time
	Note      AttributeKind = "note"      // Text
)

// known tells whether this version knows the kind. One that it does not may
// keep a point from being dropped.
func (k AttributeKind) known() bool {
	switch k {
	case Deleted, Undeleted, Locked, Verified, Note:
		return true
	}
	return false
}

// Attribute is a small record added beside a point after its commit. Of
// several of one kind the newest counts, except that a lock only ever grows.
type Attribute struct {
	Kind  AttributeKind `json:"kind"`
	Point PointID       `json:"point,omitempty"`
	Seq   uint64        `json:"seq"` // counts the point's attributes from 1
	Time  time.Time     `json:"time"`
	Until time.Time     `json:"until,omitzero"` // end of a lock; of Deleted: before when it is not dropped
	By    string        `json:"by,omitempty"`
	Text  string        `json:"text,omitempty"`
	// Points are told of instead of Point, by an attribute of kind Verified that
	// lies beside those of single points.
	Points []PointID `json:"points,omitempty"`
}

// Attributes returns the attributes of a point, oldest first.
func (v *Vault) Attributes(p *Point) ([]*Attribute, error) { return v.attributes(p.Machine, p.ID) }

func (v *Vault) attributes(m MachineID, p PointID) ([]*Attribute, error) {
	folder := path.Join(attrsDir, string(m), string(p))
	names, err := v.dir.List(folder)
	if err != nil {
		return nil, err
	}
	var attrs []*Attribute
	var errs []error
	for _, name := range names {
		a, err := v.attribute(path.Join(folder, name))
		switch {
		case err != nil:
			errs = append(errs, err)
		case a != nil:
			attrs = append(attrs, a)
		}
	}
	slices.SortStableFunc(attrs, func(a, b *Attribute) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), a.Time.Compare(b.Time))
	})
	return attrs, errors.Join(errs...)
}

func (v *Vault) attribute(p string) (*Attribute, error) {
	c := &v.points
	c.mu.Lock()
	known := c.attrs[p]
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	a := &Attribute{}
	err := v.readRecord(attributeKind, p, a)
	if isNotExist(err) {
		return nil, nil // dropped meanwhile, with its point
	}
	if err != nil {
		return nil, err
	}
	if !a.Kind.known() {
		return nil, fmt.Errorf("read %s: an attribute of kind %.20q: %w", p, a.Kind, ErrVersion)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.attrs == nil {
		c.attrs = map[string]*Attribute{}
	}
	c.attrs[p] = a
	return a, nil
}

// trash returns the points that are deleted and not undeleted. Only points
// that have attributes cost anything.
func (v *Vault) trash(list lister) (map[PointID]bool, error) {
	trash := map[PointID]bool{}
	var errs []error
	err := v.eachAttributed(list, func(m MachineID, p PointID) error {
		attrs, err := v.attributes(m, p)
		errs = append(errs, err)
		if stateOf(attrs).InTrash() {
			trash[p] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	machines, err := list(attrsDir)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if hexID.MatchString(m) { // what is not understood may keep points
			_, err := v.verifiedOf(MachineID(m), list)
			errs = append(errs, err)
		}
	}
	return trash, errors.Join(errs...)
}

// eachAttributed calls fn for every point that has attributes, or had them.
func (v *Vault) eachAttributed(list lister, fn func(MachineID, PointID) error) error {
	machines, err := list(attrsDir)
	if err != nil {
		return err
	}
	for _, m := range machines {
		if !hexID.MatchString(m) {
			continue
		}
		points, err := list(path.Join(attrsDir, m))
		if err != nil {
			return err
		}
		for _, p := range points {
			if !pointID.MatchString(p) {
				continue
			}
			if err := fn(MachineID(m), PointID(p)); err != nil {
				return err
			}
		}
	}
	return nil
}
