package integration

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// powersOff is a boot sector of a guest that notes in its memory that it runs, waits for a key, and then powers itself
// off by ACPI.
var powersOff = append(append([]byte{
	0x31, 0xc0, 0x8e, 0xd8, 0xc6, 0x06, 0x00, 0x05, 0x77, // xor ax,ax; mov ds,ax; mov byte [500h],77h
	0x30, 0xe4, 0xcd, 0x16, // xor ah,ah; int 16h
	0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // mov dx,604h; mov ax,2000h; out dx,ax
	0xeb, 0xfe, // jmp $
}, make([]byte, 488)...), 0x55, 0xaa)

// paused backs up what it writes to both disks, and calls do while that is stopped in the middle of its
// reading, with its exports open.
func (p *protected) paused(do func()) outcome {
	p.machine.t.Helper()
	p.write("vda", 3, 9<<20, "8M")
	p.write("vdb", 3, 9<<20, "8M")
	b := p.vault.start("backup", "web-1", "--json", "--min-free", "none", "--rate", "4MiB") // it reads for 4 seconds at least
	eventually(p.machine.t, "it reads, or has ended", func() bool { return p.exports() == 2 || b.ended() })
	if !b.stop() || p.exports() != 2 {
		b.signal(syscall.SIGCONT)
		o := b.wait()
		p.machine.t.Fatalf("the backup ended: %d %s%s", o.code, o.out, o.err)
	}
	do()
	b.signal(syscall.SIGCONT)
	return b.wait()
}

func TestAGuestThatPowersItselfOffWhileItIsReadIsReadFromItsImages(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *protected){
		"by ACPI": func(p *protected) { p.key() },
		"quit":    func(p *protected) { p.monitor.do("quit", nil, nil) },
		"killed":  func(p *protected) { p.cmd.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &protected{newMachine(t), newVault(t)}
			p.protect()
			p.bootsFrom("vda", powersOff)
			p.backUp(0)
			o := p.paused(func() {
				end(p)
				for begun := time.Now(); !over(p.cmd) && time.Since(begun) < 10*time.Second; time.Sleep(5 * time.Millisecond) {
				} // it waits for who was stopped with a reply on its way
			})
			p.wait()
			p.kill()
			if o.code != 3 {
				t.Fatalf("exit code %d: %s%s", o.code, o.out, o.err)
			}
			// What QEMU had saved belongs to two runs: the images are read whole.
			if r := p.compare(o); r.modes() != "vda , vdb " || !strings.Contains(strings.Join(r.Warnings, " "), "repeated") {
				t.Errorf("%s, warnings %q", r.modes(), r.Warnings)
			}
			p.machine.start()
			p.write("vda", 4, 10<<20, "64k")
			if r := p.backUp(0); r.modes() != "vda scan, vdb scan" {
				t.Errorf("on again: %s", r.modes())
			}
			p.clean(2)
			if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
				t.Errorf("and then: %s", r.modes())
			}
		})
	}
}

// bootsFrom restarts the machine with a boot sector on a disk.
func (p *protected) bootsFrom(disk string, sector []byte) {
	p.machine.t.Helper()
	p.quit()
	file := p.machine.path("sector")
	if err := os.WriteFile(file, sector, 0o600); err != nil {
		p.machine.t.Fatal(err)
	}
	p.writeOff(disk, "write -q -s "+file+" 0 512")
	p.machine.start()
	eventually(p.machine.t, "the guest runs", func() bool { // before, its firmware would overhear a key
		return strings.Contains(p.monitor.human("xp /1bx 0x500"), "0x77")
	})
}

// key presses a key.
func (m *machine) key() {
	m.t.Helper()
	m.monitor.human("sendkey ret")
}

// human gives a command in the words of the monitor that is for people.
func (q *monitor) human(line string) (said string) {
	q.t.Helper()
	q.do("human-monitor-command", map[string]any{"command-line": line}, &said)
	return said
}

// TestAGuestThatIsOffInAQEMUThatStaysIsReadToTheEnd: with -no-shutdown QEMU waits.
func TestAGuestThatIsOffInAQEMUThatStaysIsReadToTheEnd(t *testing.T) {
	t.Parallel()
	p := &protected{newMachine(t), newVault(t)}
	p.extra = []string{"-no-shutdown"}
	p.protect()
	p.bootsFrom("vda", powersOff)
	var status struct{ Status string }
	o := p.paused(p.key)
	eventually(t, "the guest is off", func() bool { // not while the backup is stopped: QEMU waits for its reads
		p.monitor.do("query-status", nil, &status)
		return status.Status == "shutdown"
	})
	p.compare(o)
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("the next run: %s", r.modes())
	}
	p.monitor.do("query-status", nil, &status)
	if status.Status != "shutdown" {
		t.Errorf("the machine is %s", status.Status)
	}
}

// TestABackupKilledAroundItsCommitLosesNothing kills it when it begins to write the point's record.
func TestABackupKilledAroundItsCommitLosesNothing(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	folders, err := filepath.Glob(p.vault.path + "/points/*")
	if err != nil || len(folders) != 1 {
		t.Fatalf("%v, %v", folders, err)
	}
	for round := range byte(2) {
		p.write("vda", round+3, 20<<20, "64k")
		watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.InotifyAddWatch(watch, folders[0], unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
			t.Fatal(err)
		}
		b := p.vault.start("backup", "web-1", "--min-free", "none")
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}, 60_000)
		for err == unix.EINTR {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}, 60_000)
		}
		if n != 1 {
			t.Errorf("nothing was written of a point: %v", err)
		}
		b.signal(syscall.SIGKILL)
		unix.Close(watch)
		b.wait()
		p.write("vda", 7, 22<<20, "64k") // the machine goes on
		o := p.vault.run("backup", "web-1", "--json", "--min-free", "none")
		if o.code != 0 && o.code != 3 { // 3: the point is there after all, its record put back
			t.Fatalf("the next run: exit code %d: %s", o.code, o.err)
		}
		if r := p.compare(o); r.modes() != "vda bitmap, vdb bitmap" {
			t.Errorf("the next run: %s", r.modes())
		}
		p.clean(2)
	}
	p.must(0, "check", "--data")
}

func TestDisksThatArePluggedInAndOutAreFollowed(t *testing.T) {
	t.Parallel()
	p := &protected{newMachine(t), newVault(t)}
	p.quit()
	p.extra = []string{"-device", "qemu-xhci,id=usb"}
	p.machine.start()
	p.protect()
	p.backUp(0)
	p.image("sda", "raw", "8M")
	plug := func() {
		p.monitor.do("blockdev-add", map[string]any{"node-name": "stick", "driver": "raw", "file": map[string]any{"driver": "file", "filename": p.machine.path("sda")}}, nil)
		p.monitor.do("device_add", map[string]any{"driver": "usb-storage", "id": "dev-stick", "drive": "stick", "serial": "S1"}, nil)
	}
	pull := func() {
		p.monitor.do("device_del", map[string]any{"id": "dev-stick"}, nil)
		eventually(t, "the disk can be taken away", func() bool {
			return p.monitor.try("blockdev-del", map[string]any{"node-name": "stick"}, nil) == nil
		})
	}
	p.images["sda"] = [2]string{p.machine.path("sda"), "raw"}
	plug()
	if r := p.backUp(0); len(r.Point.Disks) != 3 || !strings.Contains(r.modes(), "sda scan") || !strings.Contains(r.modes(), "vda bitmap, vdb bitmap") {
		t.Errorf("plugged in: %s", r.modes())
	}
	pull()
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("pulled out: %s", r.modes())
	}
	p.writeOff("sda", "write -q -P 9 1M 1M")
	plug()
	if r := p.backUp(0); !strings.Contains(r.modes(), "sda scan") || !strings.Contains(r.modes(), "vda bitmap, vdb bitmap") {
		t.Errorf("plugged in again: %s", r.modes())
	}
	p.clean(3)
}

func TestAnExternalSnapshotBetweenTwoPointsMeansAScan(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	over := p.machine.path("over")
	p.monitor.do("blockdev-snapshot-sync", map[string]any{"device": "vda", "snapshot-file": over, "format": "qcow2"}, nil)
	p.images["vda"] = [2]string{over, "qcow2"}
	p.write("vda", 4, 12<<20, "64k")
	r := p.backUp(0)
	if r.modes() != "vda scan, vdb bitmap" || r.Point.Disks[0].ModeReason == "" || r.Point.Sizes.Changed != 64<<10 {
		t.Errorf("%s, %+v", r.modes(), r.Point)
	}
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("and then: %s", r.modes())
	}
	p.quit()
	if r := p.backUp(0); r.modes() != "vda , vdb " { // of a chain nobody can say what became of it while it was off
		t.Errorf("off: %s", r.modes())
	}
}

// TestAHostThatWasRestartedMeansScansOfRawDisks: their bitmaps lived in QEMU's memory.
func TestAHostThatWasRestartedMeansScansOfRawDisks(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.quit()
	p.name = "web one" // and somebody gave it another name
	p.machine.start()
	p.write("vdb", 4, 12<<20, "64k")
	o := p.must(0, "backup", "web-1", "--min-free", "none")
	for _, text := range []string{"vda by bitmap", "vdb by scan (", `is called "web one" now`} {
		if !strings.Contains(o.out+o.err, text) {
			t.Errorf("%q is missing in %s%s", text, o.out, o.err)
		}
	}
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("and then: %s", r.modes())
	}
	p.clean(2)
}

func TestADiskOfAnotherHostIsBackedUpLikeAnyOther(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-nbd")
	p := &protected{newMachine(t), newVault(t)}
	p.image("far", "raw", "16M")
	server := exec.Command("qemu-nbd", "-f", "raw", "-t", "-k", p.machine.path("nbd"), p.machine.path("far"))
	server.SysProcAttr = endsWithUs()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	eventually(t, "the disk is served", func() bool {
		c, err := net.Dial("unix", p.machine.path("nbd"))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	p.quit()
	p.extra = []string{"-blockdev", "driver=raw,node-name=far,file.driver=nbd,file.server.type=unix,file.server.path=" + p.machine.path("nbd"),
		"-device", "virtio-blk-pci,id=dev-far,drive=far,serial=S7"}
	p.machine.start()
	p.images["vdc"] = [2]string{p.machine.path("far"), "raw"}
	p.protect()
	io := func(command string) {
		var said string
		p.monitor.do("human-monitor-command", map[string]any{"command-line": `qemu-io -d /machine/peripheral/dev-far/virtio-backend "` + command + `"`}, &said)
		if said != "" {
			t.Error(said)
		}
	}
	io("write -P 5 1M 4M")
	if r := p.backUp(0); r.modes() != "vda scan, vdb scan, vdc scan" {
		t.Errorf("%s", r.modes())
	}
	io("write -P 6 8M 64k")
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap, vdc bitmap" || r.Point.Sizes.Changed != 64<<10 {
		t.Errorf("%s, %+v", r.modes(), r.Point.Sizes)
	}
	p.clean(3)
}

func TestACommandBeforeTheSnapshotThatFailsEndsTheRunUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	p := protectMachine(t)
	p.backUp(0)
	p.write("vda", 4, 12<<20, "64k")
	p.protect("--pre", "echo no database here >&2; exit 7")
	o := p.vault.run("backup", "web-1", "--min-free", "none")
	if o.code == 0 || !strings.Contains(o.err, "no database here") || len(p.points("web-1")) != 1 {
		t.Errorf("exit code %d: %s", o.code, o.err)
	}
	p.clean(2)
	p.protect()
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" || r.Point.Sizes.Changed != 64<<10 {
		t.Errorf("the next run: %s, %+v", r.modes(), r.Point.Sizes)
	}
}

func TestAnAgentThatHangsInAFreezeIsNotWaitedForAndThawed(t *testing.T) {
	t.Parallel()
	p, a := withAgent(t, agenttest.Script{FreezeTakes: 3 * time.Second})
	p.protect("--qga", a.Socket, "--consistency", "filesystem", "--otherwise", "fall-back", "--freeze-timeout", "1s")
	r := p.backUp(3)
	if h := p.latest(); h.Consistency != "crash" || h.Reason == "" {
		t.Errorf("the point says %+v", h)
	}
	if !strings.Contains(strings.Join(r.Warnings, " "), "crash was reached") {
		t.Errorf("warnings: %q", r.Warnings)
	}
	eventually(t, "the guest is thawed after a freeze that came late", func() bool {
		return !a.Frozen() && slices.Contains(a.Said(), "guest-fsfreeze-thaw")
	})
	p.protect("--qga", a.Socket, "--consistency", "filesystem", "--otherwise", "fail", "--freeze-timeout", "1s")
	if o := p.vault.run("backup", "web-1", "--min-free", "none"); o.code == 0 || len(p.points("web-1")) != 1 {
		t.Errorf("exit code %d: %s", o.code, o.err)
	}
	eventually(t, "the guest is thawed again", func() bool { return !a.Frozen() })
	p.clean(2)
}
