package integration

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// outcomeOf is what the tests read of a backup's JSON.
type outcomeOf struct {
	Point struct {
		ID    string
		Sizes struct{ Read, Changed int64 }
		Disks []struct {
			Name, Mode string
			ModeReason string `json:"mode_reason"`
		}
		LeftOut []struct{ Name string } `json:"left_out"`
	}
	Outcome  string
	Warnings []string
	Notes    []string
}

func (o *outcomeOf) modes() string {
	var words []string
	for _, d := range o.Point.Disks {
		words = append(words, d.Name+" "+d.Mode)
	}
	return strings.Join(words, ", ")
}

// protected is a machine and a vault that protects it as web-1.
type protected struct {
	*machine
	vault
}

func protectMachine(t *testing.T, flags ...string) *protected {
	t.Helper()
	p := &protected{newMachine(t), newVault(t)}
	p.protect(flags...)
	return p
}

func (p *protected) protect(flags ...string) outcome {
	p.machine.t.Helper()
	return p.must(0, append([]string{"protect", "web-1", "--qmp", p.machine.path("qmp"), "--scratch", p.machine.path("scratch"), "--scratch-free", "1MiB"}, flags...)...)
}

// backUp makes a point and compares each of its disks with what the machine's holds.
func (p *protected) backUp(code int, flags ...string) *outcomeOf {
	p.machine.t.Helper()
	return p.compare(p.must(code, append([]string{"backup", "web-1", "--json", "--min-free", "none"}, flags...)...))
}

// compare compares each disk of a point that was made with what the machine's holds.
func (p *protected) compare(o outcome) *outcomeOf {
	p.machine.t.Helper()
	t := p.machine.t
	var r outcomeOf
	if err := json.Unmarshal([]byte(o.out), &r); err != nil {
		t.Fatalf("%v: %s%s", err, o.out, o.err)
	}
	for _, d := range r.Point.Disks {
		if p.machine.images[d.Name][0] == "" {
			continue
		}
		target := filepath.Join(t.TempDir(), d.Name+".raw")
		p.must(0, "restore", "web-1@"+r.Point.ID, "--disk", d.Name+"="+target)
		if hashFile(t, target) != p.content(d.Name) {
			t.Errorf("disk %s of point %s differs from what the machine has (%s)", d.Name, r.Point.ID, r.modes())
		}
		os.Remove(target)
	}
	return &r
}

func TestARunningMachineIsBackedUpByName(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	if r := p.backUp(0); r.modes() != "vda scan, vdb scan" || r.Outcome != "completed" {
		t.Errorf("the first point: %s, %s", r.modes(), r.Outcome)
	}
	p.clean(2)
	p.write("vda", 3, 9<<20, "64k")
	p.write("vdb", 4, 0, "4k")
	r := p.backUp(0)
	if r.modes() != "vda bitmap, vdb bitmap" || r.Point.Sizes.Read != 2*64<<10 || r.Point.Sizes.Changed != 2*64<<10 {
		t.Errorf("the second point: %s, %+v", r.modes(), r.Point.Sizes)
	}
	p.clean(2)
	show := p.must(0, "point", "show", "web-1@latest", "--json").out
	if !strings.Contains(show, someUUID) || !strings.Contains(show, "qemu-command-line") || !strings.Contains(show, "machine.json") {
		t.Errorf("the point says %s", show)
	}
	if o := p.must(0, "machines"); !strings.Contains(o.out, "running") {
		t.Errorf("machines: %s", o.out)
	}
	if o := p.must(0, "discover"); !strings.Contains(o.out, "web 1") || !strings.Contains(o.out, "web-1") {
		t.Errorf("discover: %s", o.out)
	}
	if o := p.must(0, "unprotect", "web-1"); strings.Count(o.out, "removed from the VM: bitmap") != 2 {
		t.Errorf("unprotect: %s", o.out)
	}
	p.clean(0)
	if len(p.points("web-1")) != 2 {
		t.Error("the points are gone")
	}
	p.must(0, "check", "--data")
}

func TestWhatHappensToDisksBetweenTwoPointsIsSeen(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	for _, n := range p.nodes() { // another tool's
		if len(n.Bitmaps) > 0 {
			p.monitor.do("block-dirty-bitmap-add", map[string]any{"node": n.Name, "name": "backup-tool-7"}, nil)
		}
	}
	p.monitor.do("block_resize", map[string]any{"device": "vdb", "size": 64 << 20}, nil)
	p.write("vdb", 7, 60<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb scan" || !strings.Contains(r.Point.Disks[1].ModeReason, "resized") {
		t.Errorf("after a resize: %s, %+v", r.modes(), r.Point.Disks)
	}
	p.image("vdc", "raw", "1M")
	p.monitor.do("blockdev-add", map[string]any{"node-name": "vdc", "driver": "raw", "file": map[string]any{"driver": "file", "filename": p.machine.path("vdc")}}, nil)
	p.monitor.do("device_add", map[string]any{"driver": "virtio-blk-pci", "id": "dev-vdc", "drive": "vdc", "serial": "serial-vdc"}, nil)
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap, vdc scan" {
		t.Errorf("after a disk was added: %s", r.modes())
	}
	p.protect("--exclude", "vdc")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" || len(r.Point.LeftOut) != 1 {
		t.Errorf("after a disk was excluded: %s, %v", r.modes(), r.Point.LeftOut)
	}
	foreign := 0
	for _, n := range p.nodes() {
		for _, b := range n.Bitmaps {
			if b.Name == "backup-tool-7" {
				foreign++
			}
		}
	}
	if foreign != 2 {
		t.Errorf("%d of 2 bitmaps of another tool are there", foreign)
	}
	p.kill() // bitmaps of raw disks vanish, those in qcow2 cannot be believed
	if o := p.must(0, "machines"); !strings.Contains(o.out, " off ") {
		t.Errorf("machines: %s", o.out)
	}
	p.machine.start()
	p.protect()
	p.write("vda", 9, 30<<20, "64k")
	if r := p.backUp(0); r.modes() != "vda scan, vdb scan" {
		t.Errorf("after QEMU was killed: %s", r.modes())
	}
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("and then: %s", r.modes())
	}
	p.kill()
	if r := p.backUp(0); r.modes() != "vda , vdb " {
		t.Errorf("while it is off: %s", r.modes())
	}
}

func TestABackupThatIsKilledLosesNothingAndLeavesTheMachineRunning(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	for name, kill := range map[string]func(){
		"before the snapshot": func() { p.protect("--pre", "kill -9 $PPID"); p.must(-1, "backup", "web-1", "--min-free", "none") },
		"after it":            func() { p.protect("--post", "kill -9 $PPID"); p.must(-1, "backup", "web-1", "--min-free", "none") },
		"while it reads": func() {
			p.protect()
			b := p.vault.start("backup", "web-1", "--scan", "--min-free", "none")
			eventually(t, "it reads, or has ended", func() bool { return p.exports() > 0 || b.ended() })
			p.write("vda", 11, 40<<20, "64k")
			b.signal(9)
			b.wait()
		},
	} {
		p.write("vda", 5, 20<<20, "64k")
		p.write("vdb", 6, 20<<20, "64k")
		before := len(p.points("web-1"))
		kill()
		p.write("vda", 7, 22<<20, "64k") // the machine goes on
		made := len(p.points("web-1")) > before
		p.protect()
		r := p.backUp(0)
		if r.modes() != "vda bitmap, vdb bitmap" || r.Point.Sizes.Read > 5*64<<10 {
			t.Errorf("killed %s (point made: %v): the next run: %s, %+v", name, made, r.modes(), r.Point.Sizes)
		}
		p.clean(2)
	}
}

func TestAnotherVMAtTheSameSocketIsRefusedWithTheWayOut(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.kill()
	p.uuid = "11111111-8e44-4d0a-9a5c-0123456789ab"
	p.machine.start()
	o := p.must(8, "backup", "web-1", "--min-free", "none")
	for _, text := range []string{someUUID, p.uuid, "--new-vm"} {
		if !strings.Contains(o.err, text) {
			t.Errorf("%q is missing in %s", text, o.err)
		}
	}
	if o := p.must(0, "machines"); !strings.Contains(o.out, "ANOTHER VM") {
		t.Errorf("machines: %s", o.out)
	}
	p.must(8, "protect", "web-1", "--qmp", p.machine.path("qmp"))
	p.protect("--new-vm")
	p.backUp(0)
}

func TestAMonitorOrAnNBDServerOfOthersIsLeftAlone(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.monitor.do("nbd-server-start", map[string]any{"addr": map[string]any{"type": "unix", "data": map[string]any{"path": p.machine.path("foreign")}}}, nil)
	p.must(5, "backup", "web-1", "--min-free", "none")
	if _, err := os.Stat(p.machine.path("foreign")); err != nil {
		t.Errorf("the server of others: %v", err)
	}
	p.monitor.do("nbd-server-stop", nil, nil)
	p.clean(2)
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("the next run: %s", r.modes())
	}
	held, err := net.Dial("unix", p.machine.path("qmp"))
	if err != nil {
		t.Fatal(err)
	}
	b := p.vault.start("backup", "web-1", "--min-free", "none", "--json")
	time.Sleep(2 * time.Second) // any time will do: it is tried again
	held.Close()
	if o := b.wait(); o.code != 0 && o.code != 3 {
		t.Errorf("exit code %d: %s", o.code, o.err)
	}
}

func TestAHeldMachineIsNotTouchedUntilItIsReleased(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.must(0, "hold", "web-1", "--for", "1h", "--drain")
	p.must(8, "backup", "web-1", "--min-free", "none")
	p.must(0, "hold", "web-1", "--release")
	p.must(0, "hold", "--all", "--for", "1h")
	p.must(8, "backup", "web-1", "--min-free", "none")
	p.must(0, "hold", "--all", "--release")
	p.backUp(0)
}
