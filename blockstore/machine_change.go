package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// Machine returns the machine of a name or id.
func (v *Vault) Machine(ctx context.Context, name string) (Machine, error) {
	machines, err := v.Machines(ctx)
	for _, m := range machines {
		if m.Name == name {
			return m, nil
		}
	}
	for _, m := range machines {
		if string(m.ID) == name {
			return m, nil
		}
	}
	return Machine{}, errors.Join(fmt.Errorf("machine %s: %w", name, ErrNotFound), err)
}

// Protect notes how a machine is backed up, and makes its record where there is
// none. A VM that another machine of the vault stands for is ErrExists.
func (o *Owner) Protect(ctx context.Context, name string, p Protection) (m Machine, err error) {
	if err := errors.Join(CheckMachineName(name), p.Check()); err != nil {
		return m, fmt.Errorf("protect machine %s: %w", name, err)
	}
	err = o.unlessHung(func() error {
		if err := o.checkSpace(0); err != nil {
			return err
		}
		if err := o.history.load(ctx, o); err != nil {
			return err
		}
		o.machining.Lock()
		defer o.machining.Unlock()
		m, err = o.protect(ctx, name, p)
		return err
	})
	return m, err
}

// protect is Protect. The caller holds machining.
func (o *Owner) protect(ctx context.Context, name string, p Protection) (Machine, error) {
	machines, err := o.Machines(ctx)
	if err != nil {
		return Machine{}, fmt.Errorf("protect machine %s: %w", name, err)
	}
	for _, other := range machines {
		if other.Name != name && other.Protected != nil && other.Protected.sameVM(&p) {
			return Machine{}, fmt.Errorf("protect machine %s: the same VM is machine %s, which %w", name, other.Name, ErrExists)
		}
	}
	m, err := o.machineNamed(ctx, name)
	if err != nil {
		return Machine{}, err
	}
	m.Protected = &p
	return o.nextGeneration(m)
}

// sameVM tells whether two machines are one VM. What is found at an old place under
// another UUID is another one.
func (p *Protection) sameVM(q *Protection) bool {
	switch {
	case p.VM.UUID != "" && q.VM.UUID != "" && p.VM.UUID != q.VM.UUID:
		return false
	case p.Kind() != q.Kind():
		return p.VM.UUID != "" && p.VM.UUID == q.VM.UUID
	case p.Libvirt != nil:
		return *p.Libvirt == *q.Libvirt
	case p.QEMU != nil:
		return p.QEMU.QMP == q.QEMU.QMP
	}
	return false // files may be copies of each other's
}

// Unprotect ends the protection of a machine. Its points stay.
func (o *Owner) Unprotect(ctx context.Context, id MachineID) (Machine, error) {
	return o.changeMachine(ctx, id, func(m *Machine) error {
		if m.Protected == nil {
			return fmt.Errorf("machine %s: its protection was %w", m.Name, ErrNotFound)
		}
		m.Protected = nil
		return nil
	})
}

// NoteVM replaces what is remembered of a machine's VM.
func (o *Owner) NoteVM(ctx context.Context, id MachineID, note func(*Protection)) (Machine, error) {
	return o.changeMachine(ctx, id, func(m *Machine) error {
		if m.Protected == nil {
			return fmt.Errorf("machine %s: its protection was %w", m.Name, ErrNotFound)
		}
		p := *m.Protected
		note(&p)
		m.Protected = &p
		return p.Check()
	})
}

// RenameMachine gives a machine another name. Its points keep the name that
// they were made under, and are found by both.
func (o *Owner) RenameMachine(ctx context.Context, id MachineID, to string) (Machine, error) {
	if err := CheckMachineName(to); err != nil {
		return Machine{}, err
	}
	return o.changeMachine(ctx, id, func(m *Machine) error {
		machines, err := o.Machines(ctx)
		if err != nil {
			return fmt.Errorf("rename machine to %s: %w", to, err)
		}
		for _, other := range machines {
			if other.Name == to && other.ID != id {
				return fmt.Errorf("machine %s (%s) %w", to, other.ID, ErrExists)
			}
		}
		m.Name = to
		return nil
	})
}

// changeMachine replaces the record of a machine by one of the next generation. Changes
// that are made at once follow each other.
func (o *Owner) changeMachine(ctx context.Context, id MachineID, change func(*Machine) error) (m Machine, err error) {
	err = o.unlessHung(func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := o.checkSpace(0); err != nil {
			return err
		}
		if err := o.history.load(ctx, o); err != nil { // it makes records that were lost
			return err
		}
		o.machining.Lock()
		defer o.machining.Unlock()
		if m, err = o.machine(id); err != nil {
			return err
		}
		if err := change(&m); err != nil {
			return err
		}
		m, err = o.nextGeneration(m)
		return err
	})
	return m, err
}

// nextGeneration writes m as the newest record of its machine, and removes those
// before it but the last, which is there should the new one be damaged. The caller
// holds machining.
func (o *Owner) nextGeneration(m Machine) (Machine, error) {
	folder := path.Join(machinesDir, string(m.ID))
	names, err := o.dir.List(folder)
	if err != nil {
		return Machine{}, err
	}
	m.Generation = 1
	for _, n := range names {
		if g, _, ok := parseNumbered(n); ok && g >= m.Generation {
			m.Generation = g + 1
		}
	}
	if err := o.stillOwner(o.claim); err != nil {
		return Machine{}, err
	}
	if err := o.writeRecord(machineKind, machinePath(m.ID, m.Generation), m); err != nil {
		return Machine{}, fmt.Errorf("write the record of machine %s: %w", m.Name, err)
	}
	o.opts.Event("machine.written")
	for _, n := range names {
		g, _, ok := parseNumbered(n)
		if !ok || g+1 >= m.Generation {
			continue
		}
		if err := o.removing(func() error { return o.dir.Remove(path.Join(folder, n)) }); err != nil && !errors.Is(err, ErrHeld) {
			o.warn(err.Error())
		}
	}
	return m, nil
}
