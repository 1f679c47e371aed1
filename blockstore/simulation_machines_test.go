package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// simMachine is what the model knows of a machine: what its record may say.
type simMachine struct {
	may  []string // as machineSays tells
	lost bool     // its records may be lost, or an older one may be the newest
}

// machineSays puts what a record tells into a word.
func machineSays(m Machine) string {
	if m.Protected == nil {
		return m.Name + "/-"
	}
	return m.Name + "/" + m.Protected.VM.Name
}

// changing notes that the record of a machine may say something else by now.
func (m *model) changing(id MachineID, says string) {
	if m.machines[id] == nil {
		m.machines[id] = &simMachine{lost: true} // not there yet
	}
	m.machines[id].may = append(m.machines[id].may, says)
}

// machinesHarmed notes that a record of a machine was damaged or lost.
func (m *model) machinesHarmed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, known := range m.machines {
		known.lost = true
	}
}

// compareMachines holds the machines of a vault against the model. The caller
// holds mu. A machine of which it knows nothing was made by a backup.
func (m *model) compareMachines(t *testing.T, v *Vault, when string, settled bool) {
	t.Helper()
	machines, err := v.Machines(t.Context())
	harmed := slices.ContainsFunc(slices.Collect(maps.Values(m.machines)), func(k *simMachine) bool { return k.lost })
	if err != nil && !harmed {
		t.Errorf("%s: %v", when, err)
	}
	is, names := map[MachineID]string{}, map[string]bool{}
	for _, there := range machines {
		is[there.ID] = machineSays(there)
		if names[there.Name] && !harmed {
			t.Errorf("%s: two machines are called %s", when, there.Name)
		}
		names[there.Name] = true
	}
	for id, known := range m.machines {
		if says := is[id]; !known.lost && !slices.Contains(known.may, says) {
			t.Errorf("%s: machine %s is %q, and should be one of %q", when, id, says, known.may)
		}
	}
	if settled {
		for id, says := range is {
			m.machines[id] = &simMachine{may: []string{says}}
		}
		for id := range m.machines {
			if is[id] == "" {
				delete(m.machines, id)
			}
		}
	}
}

// simNames are what machines are called in their lives.
var simNames = append([]string{"web", "db"}, simMachines...)

// changeMachine protects a machine, ends that, renames it, or notes something of
// its VM.
func (a *actor) changeMachine(ctx context.Context, r *rand.Rand) error {
	if r.IntN(3) == 0 {
		return a.holdMachine(r)
	}
	machines, err := a.o.Machines(ctx)
	if err != nil || len(machines) == 0 {
		return nil // damage, which the next backup heals
	}
	m := machines[r.IntN(len(machines))]
	if slices.ContainsFunc(machines, func(n Machine) bool { return n.Name == m.Name && n.ID != m.ID }) {
		return nil // damage did that
	}
	now := m
	tag := fmt.Sprint("vm", r.IntN(1000))
	protection := Protection{VM: VM{UUID: string(m.ID), Name: tag, Kind: KindQEMU}, QEMU: &QEMUVM{QMP: "/run/" + string(m.ID)}, Consistency: Crash}
	var change func() (Machine, error)
	switch r.IntN(4) {
	case 0:
		now.Protected = &protection
		change = func() (Machine, error) { return a.o.Protect(ctx, m.Name, protection) }
	case 1:
		now.Protected = nil
		change = func() (Machine, error) { return a.o.Unprotect(ctx, m.ID) }
	case 2:
		if m.Protected == nil {
			return nil
		}
		now.Protected = &protection
		change = func() (Machine, error) {
			return a.o.NoteVM(ctx, m.ID, func(p *Protection) { p.VM.Name = tag })
		}
	default:
		now.Name = simNames[r.IntN(len(simNames))]
		change = func() (Machine, error) { return a.o.RenameMachine(ctx, m.ID, now.Name) }
	}
	a.say("changing %s %s", m.ID, machineSays(now))
	after, err := change()
	if errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) {
		after, err = m, nil
	}
	if err != nil {
		return err
	}
	a.say("changed %s %s", m.ID, machineSays(after))
	if after.ID != m.ID {
		return fmt.Errorf("a change of machine %s changed %s", m.ID, after.ID)
	}
	return nil
}

// holdMachine keeps hands off a machine, and gives it free again.
func (a *actor) holdMachine(r *rand.Rand) error {
	m := Machine{ID: MachineID(fmt.Sprintf("%016x", r.Uint64())), Name: "held"}
	if err := a.o.HoldMachine(m.ID, time.Now().Add(time.Hour)); err != nil {
		return err
	}
	if err := a.o.CheckHeld(m); !errors.Is(err, ErrMachineHeld) {
		return fmt.Errorf("a machine that is held is not: %v", err)
	}
	n, err := a.o.ReleaseMachine(m.ID)
	if err != nil || n != 1 {
		return fmt.Errorf("%d holds were ended: %w", n, err)
	}
	return a.o.CheckHeld(m)
}

// holdSweep keeps everything while it lasts: a sweep removes nothing, backups go on.
func (a *actor) holdSweep(ctx context.Context, r *rand.Rand) error {
	if err := a.o.HoldSweep(time.Now().Add(time.Hour)); err != nil {
		return err
	}
	a.say("sweeping true %d", a.now().UnixNano()) // it must not, and what a kill leaves may be dropped
	_, err := a.o.Sweep(ctx, SweepOptions{Now: true, Full: true, Trash: true, Clock: a.now})
	if !errors.Is(err, ErrHeld) && !errors.Is(err, ErrClock) {
		return fmt.Errorf("a sweep of a vault that is held: %w", err)
	}
	a.say("swept")
	if err := a.backUps(ctx, r); err != nil {
		return err
	}
	_, err = a.o.ReleaseSweep()
	return err
}
