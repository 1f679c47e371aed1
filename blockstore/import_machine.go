package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

func (o *Owner) differs(src *Vault) error {
	if src.head.ID == o.head.ID {
		return fmt.Errorf("%s and %s are one vault, or a vault and a copy of its folder", src.dir.Root(), o.dir.Root())
	}
	return nil
}

// importMachine makes the machine known that a point belongs to. A machine of
// another id and the same name is not mixed with it.
func (o *Owner) importMachine(ctx context.Context, src *Vault, p *Point) (Machine, error) {
	if err := o.checkSpace(0); err != nil {
		return Machine{}, err
	}
	if err := o.history.load(ctx, o); err != nil {
		return Machine{}, err
	}
	o.machining.Lock()
	defer o.machining.Unlock()
	m := Machine{ID: p.Machine, Name: p.MachineName, Generation: 1}
	if now, err := src.machine(p.Machine); err == nil {
		m.Name = now.Name // it may be called otherwise by now
	}
	machines, err := o.Machines(ctx)
	for _, there := range machines {
		if there.ID == m.ID {
			return there, nil
		}
	}
	for _, there := range machines {
		if there.Name == m.Name {
			return Machine{}, fmt.Errorf("another machine of this vault is called %s, too (%s, and this is %s): %w", m.Name, there.ID, m.ID, ErrExists)
		}
	}
	if err != nil {
		return Machine{}, err
	}
	return m, o.writeRecord(machineKind, machinePath(m.ID, m.Generation), m)
}

// pinBase returns the newest point of p's machine that is not newer than p, and
// keeps it: most of p lies in it. It is nil where there is none.
func (o *Owner) pinBase(p *Point) (*Point, error) {
	if o.history.has(p.Machine, p.ID) {
		return nil, ErrExists
	}
	if dropped, err := o.history.wasDropped(o, pointPath(p.Machine, p.Seq, p.ID)); err != nil || dropped {
		return nil, errors.Join(err, ErrForgotten)
	}
	return o.pinParent(p.Machine, func(q *Point) bool { return q.Seq <= p.Seq }), nil
}

// has tells whether a point is there, in the trash or not.
func (h *history) has(m MachineID, id PointID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.points[m], func(p *Point) bool { return p.ID == id })
}

// wasDropped tells whether a segment still tells that the point of a path was
// dropped: its name cannot be used again then.
func (h *history) wasDropped(o *Owner, path string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dropped == nil {
		dropped := map[string]bool{}
		for _, t := range o.tables.Load().tables {
			if err := t.EachPoint(func(p segment.Point) error {
				if p.Event == segment.Dropped {
					dropped[p.Path] = true
				}
				return nil
			}); err != nil {
				return false, err
			}
		}
		h.dropped = dropped
	}
	return h.dropped[path], nil
}

// importAttributes adds the locks and notes of a point to its copy, as far as
// they are not there.
func (o *Owner) importAttributes(src *Vault, p, q *Point) error {
	from, err := src.Attributes(p)
	if err != nil || len(from) == 0 {
		return err
	}
	have, err := o.Attributes(q)
	if err != nil {
		return err
	}
	notes := map[string]bool{}
	for _, a := range have {
		if a.Kind == Note {
			notes[a.Text] = true
		}
	}
	add := maps.Clone(notes)
	for _, a := range from {
		if a.Kind == Note && !add[a.Text] {
			add[a.Text] = true
			if err := o.change(q, Attribute{Kind: Note, Text: a.Text, By: a.By}, func(PointState) (bool, error) { return true, nil }); err != nil {
				return err
			}
		}
	}
	if until := stateOf(from).Until; until.After(stateOf(have).Until) {
		return o.Lock(q, until)
	}
	return nil
}
