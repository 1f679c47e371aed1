package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/guest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// livePoint is what these tests read of a point of a running machine.
type livePoint struct {
	point
	Consistency       string
	ConsistencyReason string `json:"consistency_reason"`
	Disks             []struct {
		Name, Mode, Reason string
		Sizes              struct{ Read int64 }
	}
}

func (v vault) livePoints(machine string) []livePoint {
	v.t.Helper()
	var list []livePoint
	o := v.must(0, "points", "--json", machine)
	if err := json.Unmarshal([]byte(o.out), &list); err != nil {
		v.t.Fatalf("points --json: %v: %s", err, o.out)
	}
	return list
}

func (v vault) newest(machine string) livePoint {
	v.t.Helper()
	list := v.livePoints(machine)
	if len(list) == 0 {
		v.t.Fatalf("machine %s has no point", machine)
	}
	return list[len(list)-1]
}

// modes of the disks of a point, in their order.
func (p livePoint) modes() (m []string) {
	for _, d := range p.Disks {
		m = append(m, d.Mode)
	}
	return m
}

// examined restores a point to a folder, and fails the test unless its disks are whole and of
// one moment. It returns the folder and the last record on both disks.
func (v vault) examined(ref string) (folder string, record uint64) {
	v.t.Helper()
	folder = filepath.Join(v.t.TempDir(), "restored") + "/"
	v.must(0, "restore", ref, "--to", folder, "--format", "raw")
	names, err := filepath.Glob(folder + "*.raw")
	if err != nil || len(names) != 2 {
		v.t.Fatalf("restored %v, %v; want two disks", names, err)
	}
	slices.Sort(names)
	// fsck replays journals: the restored disks themselves stay as they are.
	var copies []string
	for _, n := range names {
		copies = append(copies, n+".examined")
		tool(v.t, "cp", "--sparse=always", n, n+".examined")
	}
	return folder, guest.Examine(v.t, copies[0], copies[1])
}

// thawed fails the test unless the guest runs and writes, and nothing of ours is left in QEMU.
func thawed(t *testing.T, vm *guest.VM) {
	t.Helper()
	status, err := vm.Agent("guest-fsfreeze-status", nil)
	if err != nil || string(status) != `"thawed"` {
		t.Errorf("the guest is %s, %v", status, err)
	}
	writesOn(t, vm)
}

// writesOn waits until the guest has written something more.
func writesOn(t *testing.T, vm *guest.VM) {
	t.Helper()
	before := strings.TrimSpace(vm.Exec(t, "stat -c %s /data/journal.b"))
	eventually(t, "the guest writes", func() bool {
		return strings.TrimSpace(vm.Exec(t, "stat -c %s /data/journal.b")) != before
	})
}

// writes waits until the guest's writer has something to show.
func writes(t *testing.T, vm *guest.VM) {
	t.Helper()
	vm.WaitAgent(t)
	eventually(t, "the guest's writer writes on both disks", func() bool {
		return len(strings.TrimSpace(vm.Exec(t, "mountpoint -q /data && stat -c %s /data/journal.b 2>/dev/null || true"))) > 3
	})
}

// TestARunningGuestComesBackFromEachOfItsPoints is the main job on a guest that never stops
// writing: a full and an incremental point at file-system consistency, each restored and examined, a restored machine
// started, and the first machine taken back in place.
func TestARunningGuestComesBackFromEachOfItsPoints(t *testing.T) {
	needs.Root(t)
	vm := guest.Start(t, guest.Options{Name: "web one"})
	writes(t, vm)
	v := newVault(t)
	o := v.must(0, "protect", "web1", "--qmp", vm.QMP, "--qga", vm.QGA)
	if !strings.Contains(o.out+o.err, "filesystem") {
		t.Errorf("protect does not say that it chose file-system consistency:\n%s%s", o.out, o.err)
	}

	v.must(0, "backup", "web1")
	full := v.newest("web1")
	if full.Consistency != "filesystem" || slices.Contains(full.modes(), "bitmap") {
		t.Errorf("the first point is %+v", full)
	}
	writesOn(t, vm)
	v.must(0, "backup", "web1")
	second := v.newest("web1")
	if second.Consistency != "filesystem" || slices.ContainsFunc(second.modes(), func(m string) bool { return m != "bitmap" }) {
		t.Errorf("the second point is %+v", second)
	}
	if second.Sizes.Read > full.Sizes.Read/4 {
		t.Errorf("the second point read %d bytes, the first %d", second.Sizes.Read, full.Sizes.Read)
	}
	thawed(t, vm)

	_, one := v.examined("web1@" + full.ID)
	folder, two := v.examined("web1@" + second.ID)
	if two <= one {
		t.Errorf("the second point ends with record %d, the first with %d", two, one)
	}
	v.must(0, "check", "--data")

	t.Run("backups are killed at any moment", func(t *testing.T) { killedAtAnyMoment(t, v, vm) })
	t.Run("a restored machine starts, and its journals go on", func(t *testing.T) {
		names, _ := filepath.Glob(folder + "*.raw")
		slices.Sort(names)
		again := guest.Start(t, guest.Options{Name: "web two", Root: names[0], Data: names[1]})
		writes(t, again)
		eventually(t, "the journal grows", func() bool {
			var n uint64
			fmt.Sscan(again.Exec(t, "stat -c %s /data/journal.b"), &n)
			return n/128 > two
		})
	})
	t.Run("the machine is taken back in place", func(t *testing.T) {
		refused := v.run("restore", "web1@"+full.ID, "--in-place", "--yes")
		if refused.code == 0 {
			t.Fatal("a machine that runs was written over")
		}
		vm.Kill()
		v.must(0, "restore", "web1@"+full.ID, "--in-place", "--yes")
		again := guest.Start(t, guest.Options{Name: "web one", Dir: t.TempDir(), Root: vm.Root, Data: vm.Data})
		writes(t, again)
		again.Kill()
		raw := filepath.Join(t.TempDir(), "root.raw")
		tool(t, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", vm.Root, raw)
		if n := guest.Examine(t, raw, vm.Data); n < one {
			t.Errorf("the journals end with record %d, the point with %d", n, one)
		}
	})
}

// killedAtAnyMoment kills backups of a running guest at random moments. The guest must run soon
// after, and the next backup must be right and leave nothing.
func killedAtAnyMoment(t *testing.T, v vault, vm *guest.VM) {
	v.t = t
	started := time.Now()
	v.must(0, "backup", "web1", "--scan")
	full := time.Since(started)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 6 {
		p := v.start("backup", "web1", "--scan") // so that it takes a while
		time.Sleep(time.Duration(rng.Int64N(int64(full))))
		p.signal(syscall.SIGKILL)
		p.wait()
		eventually(t, "the guest is thawed", func() bool {
			status, err := vm.Agent("guest-fsfreeze-status", nil)
			return err == nil && string(status) == `"thawed"`
		})
		thawed(t, vm)
	}
	o := v.run("backup", "web1")
	if o.code != 0 && o.code != 3 {
		t.Fatalf("the next backup: exit code %d\n%s%s", o.code, o.out, o.err)
	}
	v.examined("web1@latest")
	v.must(0, "backup", "web1")
	if p := v.newest("web1"); slices.Contains(p.modes(), "scan") {
		t.Errorf("the point after next is %+v", p)
	}
	thawed(t, vm)
	if o := v.must(0, "doctor", "web1"); strings.Contains(o.out, "hf-job") || strings.Contains(o.out, "hf-fl") {
		t.Errorf("something is left:\n%s", o.out)
	}
	if left, _ := filepath.Glob("/var/lib/libvirt/qemu/holdfast/*/*"); len(left) > 0 {
		t.Errorf("scratch files are left: %v", left)
	}
	if _, err := os.Stat(vm.Root); err != nil {
		t.Error(err)
	}
}
