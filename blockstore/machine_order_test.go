package blockstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestChangesOfAMachineAtOnceAreAllThere: a backup notes something of the VM while a
// person renames the machine.
func TestChangesOfAMachineAtOnceAreAllThere(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	m, err := o.Protect(t.Context(), "web1", someProtection())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		name, vm := fmt.Sprint("web-", i), fmt.Sprint("vm-", i)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := o.RenameMachine(t.Context(), m.ID, name); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := o.NoteVM(t.Context(), m.ID, func(p *Protection) { p.VM.Name = vm }); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if m, err := o.Machine(t.Context(), name); err != nil || m.Protected.VM.Name != vm {
			t.Fatalf("after change %d: %+v, %v", i, m, err)
		}
	}
}

func TestOneNameIsOneMachineHoweverManyMakeItAtOnce(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	old := backUp(t, o, "old", map[string]Source{"vda": memory("x")})
	for i := range 10 {
		name := fmt.Sprint("web-", i)
		var wg sync.WaitGroup
		wg.Go(func() { backUp(t, o, name, map[string]Source{"vda": memory("x")}) })
		wg.Go(func() {
			p := someProtection()
			p.VM.UUID, p.QEMU = name, &QEMUVM{QMP: name}
			if _, err := o.Protect(t.Context(), name, p); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := o.RenameMachine(t.Context(), old.Machine, name); err != nil && !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
		wg.Wait()
		names := map[string]bool{}
		machines, err := o.Machines(t.Context())
		for _, m := range machines {
			if names[m.Name] || err != nil {
				t.Fatalf("two machines are called %s: %v", m.Name, err)
			}
			names[m.Name] = true
		}
	}
}

// TestAMachineIsBackedUpOnceAtATimeWhateverItIsCalledMeanwhile: the end of one backup
// would set free the parent that the other relies on.
func TestAMachineIsBackedUpOnceAtATimeWhateverItIsCalledMeanwhile(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory("x")})
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now(), Asked: Crash, Reached: Crash})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.RenameMachine(t.Context(), p.Machine, "web2"); err != nil {
		t.Fatal(err)
	}
	again := BackupOptions{Machine: "web2", Time: time.Now(), Asked: Crash, Reached: Crash}
	for range 2 { // the refusal leaves nothing behind
		if _, err := o.Begin(t.Context(), again); !errors.Is(err, ErrRunning) {
			t.Fatalf("under its new name: %v", err)
		}
	}
	b.Abort()
	if b, err = o.Begin(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	b.Abort()
}

func TestADamagedRecordOfAMachineIsReplacedByTheOneBefore(t *testing.T) {
	t.Parallel()
	for _, which := range []int{0, 1} {
		dir := newVault(t, 0)
		o := ownVault(t, dir, OwnOptions{})
		m, err := o.Protect(t.Context(), "web1", someProtection())
		if err == nil {
			m, err = o.RenameMachine(t.Context(), m.ID, "web2")
		}
		if err != nil {
			t.Fatal(err)
		}
		mustClose(t, o)
		files, err := filepath.Glob(filepath.Join(dir, machinesDir, "*", "*"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		b := mustRead(t, files[which])
		b[len(b)/2] ^= 1
		if err := os.WriteFile(files[which], b, 0o600); err != nil {
			t.Fatal(err)
		}
		var warned []string
		o = ownVault(t, dir, OwnOptions{Options: Options{Warn: func(s string) { warned = append(warned, s) }}})
		want := []string{"web2", "web1"}[which]
		if now, err := o.Machine(t.Context(), want); err != nil || now.ID != m.ID || now.Protected == nil {
			t.Errorf("%+v, %v", now, err)
		}
		if told := strings.Join(warned, "; "); strings.Contains(told, "web1") != (which == 1) {
			t.Errorf("it was told %q", told)
		}
		mustCheck(t, o.Vault)
		mustClose(t, o)
	}
}

// A machine that was never backed up is told of by nothing but its record.
func TestAMachineWhoseOnlyRecordIsLostIsInNobodysWay(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{true, false} {
		dir := newVault(t, 0)
		o := ownVault(t, dir, OwnOptions{})
		b, err := o.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now(), Asked: Crash, Reached: Crash})
		if err != nil {
			t.Fatal(err)
		}
		b.Abort()
		mustClose(t, o)
		files, err := filepath.Glob(filepath.Join(dir, machinesDir, "*", "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.Truncate(files[0], 9); err != nil {
			t.Fatal(err)
		}
		if lost {
			os.Remove(files[0])
		}
		o = ownVault(t, dir, OwnOptions{})
		if _, err := o.Protect(t.Context(), "web2", someProtection()); err != nil {
			t.Error(err)
		}
		if machines, err := o.Machines(t.Context()); err != nil || len(machines) != 1 {
			t.Errorf("%+v, %v", machines, err)
		}
		mustCheck(t, o.Vault)
		mustClose(t, o)
	}
}

// A machine was renamed, and another got its name. What told of the renaming is lost.
func TestNoTwoMachinesAreCalledTheSameWhateverRecordIsLost(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		dir := newVault(t, 0)
		o := ownVault(t, dir, OwnOptions{})
		old := backUp(t, o, "web1", map[string]Source{"vda": memory("x")})
		if _, err := o.RenameMachine(t.Context(), old.Machine, "old"); err != nil {
			t.Fatal(err)
		}
		p := backUp(t, o, "web1", map[string]Source{"vda": memory("y")})
		mustClose(t, o)
		files, err := filepath.Glob(filepath.Join(dir, machinesDir, string(old.Machine), "*"))
		if err != nil || len(files) != 2 {
			t.Fatal(files, err)
		}
		os.Remove(files[1])
		if all {
			os.Remove(files[0])
		}
		o = ownVault(t, dir, OwnOptions{})
		q := backUp(t, o, "web1", map[string]Source{"vda": memory("z")})
		if q.Machine != p.Machine || q.Parent != p.ID {
			t.Errorf("the next point is of machine %s with parent %q", q.Machine, q.Parent)
		}
		if m, err := o.Machine(t.Context(), "web1-"+string(old.Machine[:8])); err != nil || m.ID != old.Machine {
			t.Errorf("%+v, %v", m, err)
		}
		mustCheck(t, o.Vault)
		mustClose(t, o)
	}
}

func TestAHoldOfAMachineThatIsDamagedEndsWithThoseOfAllMachines(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	defer mustClose(t, o)
	if err := o.HoldMachine("1111111111111111", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, heldDir, "00000009-0a0a0a0a"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := o.ReleaseMachine(""); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if h, err := o.MachineHeld("1111111111111111", time.Now()); h == nil || err != nil {
		t.Errorf("the hold of one machine: %v, %v", h, err)
	}
	mustCheck(t, o.Vault)
}
