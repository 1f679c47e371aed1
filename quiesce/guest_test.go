package quiesce

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// TestARealGuest asks of qemu-ga, systemd and the kernel what the scripted agent
// asks elsewhere. One guest serves all parts, which follow one another.
func TestARealGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest")
	}
	vm := guest.Start(t, guest.Options{})
	vm.WaitAgent(t)
	t.Cleanup(func() {
		if t.Failed() {
			b, _ := os.ReadFile(vm.Console)
			log, _ := os.ReadFile(vm.Image("qemu.log"))
			t.Logf("qemu runs: %v, and says %s; the guest's console ends with\n%s", vm.Running(), log, b[max(0, len(b)-2000):])
		}
	})
	dir := t.TempDir()
	journal, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Machine: "web1", Asked: blockstore.Filesystem, Reach: Reach{QGA: vm.QGA}, Journal: journal, Guard: testGuard()}
	for _, part := range []struct {
		name string
		run  func(*testing.T, *guest.VM, Options)
	}{
		{"a frozen guest does not write", realFreeze},
		{"chosen mount points", realMounts},
		{"a hook in the guest", realHook},
		{"the backup is killed", realKill},
		{"the backup and its guard are killed", realKillBoth},
		{"the agent is killed while the guest is frozen", realAgentKilled},
		{"the agent is stopped", realAbsent},
	} {
		t.Run(part.name, func(t *testing.T) {
			part.run(t, vm, o)
			if n := noted(t, journal); n != 0 {
				t.Errorf("%d freezes are noted still", n)
			}
		})
	}
}

// lastWrite is when QEMU wrote to the data disk last.
func lastWrite(t *testing.T, vm *guest.VM) time.Time {
	t.Helper()
	info, err := os.Stat(vm.Data)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// writes waits until the guest's writer writes.
func writes(t *testing.T, vm *guest.VM) {
	t.Helper()
	before := lastWrite(t, vm)
	waitFor(t, func() bool { return lastWrite(t, vm).After(before) })
}

// still looks whether the guest writes to the data disk.
func still(t *testing.T, vm *guest.VM) {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // for what was under way
	before := lastWrite(t, vm)
	time.Sleep(1500 * time.Millisecond)
	if after := lastWrite(t, vm); !after.Equal(before) {
		t.Errorf("the guest wrote while it was frozen, %s later", after.Sub(before))
	}
}

// realAgent connects to the guest's agent; another client may have just left.
func realAgent(t *testing.T, vm *guest.VM) *qga.Agent {
	t.Helper()
	a := qga.New(vm.QGA)
	t.Cleanup(func() { a.Close() })
	waitFor(t, func() bool { return a.Ping(t.Context()) == nil })
	return a
}

func realFreeze(t *testing.T, vm *guest.VM, o Options) {
	writes(t, vm)
	a := realAgent(t, vm)
	defer a.Close()
	waitFor(t, func() bool { list, err := a.Filesystems(t.Context()); return err == nil && len(list) == 2 })
	r, err := Quiesce(t.Context(), a, o, func(context.Context) error { still(t, vm); return nil })
	if err != nil || r.Reached != blockstore.Filesystem || r.Frozen != 2 || r.Agent == "" || len(r.Warnings) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	writes(t, vm)
	for range 3 {
		r, err = Quiesce(t.Context(), a, o, func(context.Context) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("agent %s, %d file systems: window %s, of which the freeze took %s, the snapshot %s", r.Agent, r.Frozen,
			r.Window.Round(time.Microsecond), r.Freeze.Round(time.Microsecond), r.During.Round(time.Microsecond))
	}
}

func realMounts(t *testing.T, vm *guest.VM, o Options) {
	a := realAgent(t, vm)
	defer a.Close()
	o.Mounts = []string{"/data"}
	r, err := Quiesce(t.Context(), a, o, func(context.Context) error { still(t, vm); return nil })
	if err != nil || r.Frozen != 1 || r.Reason != "frozen were only /data" {
		t.Errorf("%+v, %v", r, err)
	}
	o.Mounts, o.FallBack = []string{"/nowhere"}, true
	if r, err = Quiesce(t.Context(), a, o, func(context.Context) error { return nil }); err != nil || r.Reached != blockstore.Crash {
		t.Errorf("%+v, %v", r, err)
	}
	writes(t, vm)
}

func realHook(t *testing.T, vm *guest.VM, o Options) {
	a := realAgent(t, vm)
	defer a.Close()
	o.Asked = blockstore.Application
	o.Hooks = []Hook{{Place: InGuest, Pre: "uname -s; echo $HOLDFAST_MACHINE $HOLDFAST_PHASE > /var/tmp/hook", Post: "cat /var/tmp/hook; rm /var/tmp/hook"}}
	r, err := Quiesce(t.Context(), a, o, func(context.Context) error { return nil })
	if err != nil || r.Reached != blockstore.Application || len(r.Hooks) != 2 || r.Hooks[0].Output != "Linux" || r.Hooks[1].Output != "web1 pre" {
		t.Errorf("%+v, %v", r, err)
	}
}

// realChild starts a backup that stands still with the guest frozen.
func realChild(t *testing.T, vm *guest.VM, o Options, guarded bool) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(childOrder{Socket: vm.QGA, Journal: o.Journal.dir, Guarded: guarded})
	if err != nil {
		t.Fatal(err)
	}
	return startChild(t, string(text))
}

func realKill(t *testing.T, vm *guest.VM, o Options) {
	child := realChild(t, vm, o, true)
	killed := time.Now()
	child.Process.Kill()
	waitFor(t, func() bool { return noted(t, o.Journal) == 0 })
	t.Logf("thawed and struck from the journal %s after the death of the backup", time.Since(killed).Round(time.Millisecond))
	writes(t, vm)
}

func realKillBoth(t *testing.T, vm *guest.VM, o Options) {
	child := realChild(t, vm, o, false) // as if its guard had been killed first
	child.Process.Kill()
	child.Wait()
	list, err := ThawLeftovers(t.Context(), o.Journal.dir)
	if err != nil || len(list) != 1 || list[0].Outcome != Thawed || list[0].Count < 2 {
		t.Errorf("%+v, %v", list, err)
	}
	writes(t, vm)
}

func realAgentKilled(t *testing.T, vm *guest.VM, o Options) {
	pid := strings.TrimSpace(vm.Exec(t, "pidof qemu-ga"))
	vm.Exec(t, "setsid sh -c 'sleep 5; kill -9 "+pid+"' > /dev/null 2>&1 &")
	a := realAgent(t, vm)
	defer a.Close()
	o.FallBack = true
	r, err := Quiesce(t.Context(), a, o, func(ctx context.Context) error {
		for alive := true; alive; { // until it dies, which nobody tells us
			asked, cancel := context.WithTimeout(ctx, time.Second)
			alive = a.Ping(asked) == nil
			cancel()
		}
		return ctx.Err()
	})
	a.Close()
	t.Logf("window %s, reached %s: %s", r.Window, r.Reached, r.Reason)
	if err != nil {
		t.Errorf("%+v, %v", r, err)
	}
	writes(t, vm)
	if now := strings.TrimSpace(vm.Exec(t, "pidof qemu-ga")); now == pid {
		t.Errorf("the agent is the same process, %s", now)
	}
}

func realAbsent(t *testing.T, vm *guest.VM, o Options) {
	// Its end is not asked for: nobody is there to tell.
	if _, err := vm.Agent("guest-exec", map[string]any{"path": "/bin/systemctl", "arg": []string{"stop", "--no-block", "qemu-guest-agent"}}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		a, err := qga.Dial(t.Context(), vm.QGA)
		if err == nil {
			a.Close()
		}
		return errors.Is(err, qga.ErrAbsent)
	})
	o.FallBack = true
	begin := time.Now()
	r, err := Quiesce(t.Context(), qga.New(vm.QGA), o, func(context.Context) error { return nil })
	t.Logf("an agent that is not there was found out within %s", time.Since(begin).Round(time.Millisecond))
	if err != nil || r.Reached != blockstore.Crash || !strings.Contains(r.Reason, "does not answer") {
		t.Errorf("%+v, %v", r, err)
	}
	writes(t, vm)
}
