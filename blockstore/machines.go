package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
)

// Machine is a protected VM. Its record is replaced by one of a higher
// generation; the newest that authenticates counts.
type Machine struct {
	ID         MachineID `json:"id"`
	Name       string    `json:"name"`
	Generation uint64    `json:"generation"`

	// Protected is how it is backed up; nil for a machine whose backups are told how each time.
	Protected *Protection `json:"protected,omitempty"`
	// Pruned are the rules by which its points were last pruned, in words; empty: they never were.
	Pruned string `json:"pruned,omitempty"`
}

// check refuses a record whose names could lead somewhere else.
func (m *Machine) check() error {
	if err := CheckMachineName(m.Name); err != nil || m.Protected == nil {
		return err
	}
	return m.Protected.Check()
}

// Machines returns the machines of the vault, sorted by name. Where single
// records cannot be read, the others are returned together with an error.
func (v *Vault) Machines(ctx context.Context) ([]Machine, error) {
	machines, err := readEach(ctx, v, machinesDir, func(id string) (Machine, error) { return v.machineBy(v.dir.Glance, MachineID(id)) })
	slices.SortFunc(machines, func(a, b Machine) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return machines, err
}

// readEach reads what each folder of dir that is named by an id holds. Where single ones
// cannot be read, the others are returned together with an error.
func readEach[T any](ctx context.Context, v *Vault, dir string, read func(id string) (T, error)) ([]T, error) {
	ids, err := v.dir.List(dir)
	if err != nil {
		return nil, err
	}
	var all []T
	var errs []error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !hexID.MatchString(id) {
			continue
		}
		x, err := read(id)
		if errors.Is(err, errUnmade) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, x)
	}
	return all, errors.Join(errs...)
}

// errUnmade is of a machine whose folder holds nothing, and of which no point tells: it is being made just now, or
// whoever made it died over that.
var errUnmade = errors.New("not made yet")

// machine reads the newest record of a machine that authenticates.
func (v *Vault) machine(id MachineID) (Machine, error) { return v.machineBy(v.dir.List, id) }

func (v *Vault) machineBy(list lister, id MachineID) (Machine, error) {
	folder := path.Join(machinesDir, string(id))
	errs := []error{fmt.Errorf("machine %s has no record that can be read", id)}
	for range 3 { // records that are replaced meanwhile are not there any more
		names, err := list(folder)
		if err != nil {
			return Machine{}, err
		}
		if len(names) == 0 {
			points, err := v.dir.List(path.Join(pointsDir, string(id)))
			if err != nil {
				return Machine{}, err
			}
			if len(points) == 0 {
				return Machine{}, fmt.Errorf("machine %s was %w", id, errUnmade)
			}
			list = v.dir.List // it was made and backed up since, or lost its record
			continue
		}
		gone := false
		errs = errs[:1]
		for _, name := range slices.Backward(names) {
			m, err := v.machineRecord(path.Join(folder, name))
			if err == nil && m.ID == id {
				if err = m.check(); err == nil {
					return m, nil
				}
			}
			gone = gone || isNotExist(err)
			errs = append(errs, err)
		}
		if !gone {
			break
		}
		list = v.dir.List
	}
	return Machine{}, errors.Join(errs...)
}

// machineRecord reads one record, once.
func (v *Vault) machineRecord(p string) (m Machine, err error) {
	c := &v.points
	c.mu.Lock()
	m, known := c.machines[p]
	c.mu.Unlock()
	if known {
		return m, nil
	}
	if err := v.readRecord(machineKind, p, &m); err != nil {
		return m, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.machines == nil {
		c.machines = map[string]Machine{}
	}
	c.machines[p] = m
	return m, nil
}

// machineNamed returns the machine of a name, and makes it where there is none.
// The caller holds machining.
func (o *Owner) machineNamed(ctx context.Context, name string) (Machine, error) {
	machines, err := o.Machines(ctx)
	for _, m := range machines {
		if m.Name == name {
			return m, nil
		}
	}
	if err != nil { // such a machine has no points, or it is known by them
		o.warn(err.Error())
	}
	renamed := func(id MachineID) bool { // what it was called before is free
		return slices.ContainsFunc(machines, func(m Machine) bool { return m.ID == id })
	}
	if id, ok := o.history.machineOf(name); ok && !renamed(id) {
		return Machine{ID: id, Name: name}, nil
	}
	m := Machine{ID: MachineID(randomHex(8)), Name: name, Generation: 1}
	return m, o.writeRecord(machineKind, machinePath(m.ID, m.Generation), m)
}
