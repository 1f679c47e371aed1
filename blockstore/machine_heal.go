package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// Records of machines that are damaged or lost: the one before counts, then what
// points tell. What is left of one that nothing tells of goes, so that it is in nobody's
// way.

// healMachines looks after each machine's records, and then that no two machines are called
// the same: a record before another tells of the name before another.
func (o *Owner) healMachines(ctx context.Context) error {
	o.machining.Lock()
	defer o.machining.Unlock()
	ids, err := o.dir.List(machinesDir)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if hexID.MatchString(id) {
			errs = append(errs, o.healMachine(MachineID(id)))
		}
	}
	errs = append(errs, o.tellNamesakesApart(ctx))
	return errors.Join(errs...)
}

// healMachine removes damaged records of a machine that has a good one. Where that is
// older, it is written again as the newest first.
func (o *Owner) healMachine(id MachineID) error {
	folder := path.Join(machinesDir, string(id))
	names, err := o.dir.List(folder)
	if err != nil {
		return err
	}
	var damaged []string
	newest := uint64(0)
	for _, n := range names {
		var m Machine
		if err := o.readRecord(machineKind, path.Join(folder, n), &m); errors.Is(err, errRecord) {
			g, _, _ := parseNumbered(n)
			damaged, newest = append(damaged, n), max(newest, g)
		}
	}
	if len(damaged) == len(names) {
		return o.forgetMachine(id, names)
	}
	m, err := o.machine(id)
	if err != nil || len(damaged) == 0 {
		return err
	}
	if m.Generation < newest {
		if m, err = o.nextGeneration(m); err != nil {
			return err
		}
		o.warn(fmt.Sprintf("the newest record of machine %s was damaged; the one before it counts again: look at how it is called and protected", m.Name))
	}
	return o.removeDamaged(machineKind, folder, damaged)
}

// forgetMachine removes what is left of a machine that has no record and no points. One
// that has points is known by them.
func (o *Owner) forgetMachine(id MachineID, damaged []string) error {
	if points, err := o.dir.List(path.Join(pointsDir, string(id))); err != nil || len(points) > 0 {
		return err
	}
	folder := path.Join(machinesDir, string(id))
	if err := o.removeDamaged(machineKind, folder, damaged); err != nil {
		return err
	}
	o.warn(fmt.Sprintf("the record of machine %s was lost or damaged, and there is no point of it: if it was protected, protect it again", id))
	return o.dir.RemoveDir(folder)
}

// tellNamesakesApart renames all machines of a name but the one that the newest point
// of that name is of.
func (o *Owner) tellNamesakesApart(ctx context.Context) error {
	machines, err := o.Machines(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	called := map[string][]Machine{}
	for _, m := range machines {
		called[m.Name] = append(called[m.Name], m)
	}
	errs := []error{err}
	for name, same := range called {
		if len(same) < 2 {
			continue
		}
		slices.SortStableFunc(same, func(m, n Machine) int { return o.lastAs(n, name).Compare(o.lastAs(m, name)) })
		for _, m := range same[1:] {
			m.Name = freeName(name, m.ID, machines)
			if m, err = o.nextGeneration(m); err == nil {
				machines = append(machines, m)
				o.warn(fmt.Sprintf("machine %s is called %s now: a record of it was lost, and another machine is called %s, too", m.ID, m.Name, name))
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lastAs is when the newest point of a machine was committed, if it was made under a name.
func (o *Owner) lastAs(m Machine, name string) (at time.Time) {
	folder := path.Join(pointsDir, string(m.ID))
	names, err := o.dir.List(folder)
	if err != nil || len(names) == 0 {
		return at
	}
	if p, err := o.point(path.Join(folder, names[len(names)-1])); err == nil && p != nil && p.MachineName == name {
		at = p.Committed
	}
	return at
}

// freeName returns name, or one like it where another machine is called so.
func freeName(name string, id MachineID, machines []Machine) string {
	taken := func(s string) bool {
		return slices.ContainsFunc(machines, func(m Machine) bool { return m.Name == s && m.ID != id })
	}
	if !taken(name) {
		return name
	}
	const longest = 64 // as CheckMachineName says
	name = name[:min(len(name), longest-1-len(id))]
	if short := name + "-" + string(id[:8]); !taken(short) {
		return short
	}
	return name + "-" + string(id)
}

// machineAgain writes the record of a machine whose records are lost, known by
// its points, and removes those that are damaged.
func (o *Owner) machineAgain(ctx context.Context, id MachineID, name string) error {
	folder := path.Join(machinesDir, string(id))
	names, err := o.dir.List(folder)
	if err != nil {
		return err
	}
	machines, _ := o.Machines(ctx) // those that can be read
	m := Machine{ID: id, Name: freeName(name, id, machines), Generation: 1}
	for _, n := range names {
		if g, _, ok := parseNumbered(n); ok && g >= m.Generation {
			m.Generation = g + 1
		}
	}
	if err := o.writeRecord(machineKind, machinePath(m.ID, m.Generation), m); err != nil {
		return err
	}
	o.warn(fmt.Sprintf("the record of machine %s was lost or damaged; it was written again, from its points: if it was protected, protect it again", m.Name))
	return o.removeDamaged(machineKind, folder, names)
}
