package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

func TestDrivesAreToldApart(t *testing.T) {
	v := boot(t, func(f string) []string {
		null := func(node string) string { return "driver=null-co,size=1048576,node-name=" + node }
		run1(t, "qemu-img", "create", "-q", "-f", "raw", f+"/base.raw", "1M")
		run1(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", f+"/base.raw", "-F", "raw", f+"/top.qcow2")
		args := []string{
			"-object", "iothread,id=io0",
			"-chardev", "socket,path=" + f + "/qga,server=on,wait=off,id=agent", "-device", "virtio-serial-pci",
			"-device", "virtserialport,name=org.qemu.guest_agent.0,chardev=agent",
			"-drive", "if=ide,media=cdrom,file=" + f + "/base.raw,format=raw,readonly=on,file.locking=off",
			"-drive", "if=floppy,driver=null-co,size=1474560",
			"-drive", "if=virtio,snapshot=on,format=raw,file.locking=off,file=" + f + "/base.raw",
			"-drive", "if=none,id=loose,driver=null-co,size=1048576",
			"-device", "virtio-scsi-pci,id=scsi,iothread=io0", "-device", "ahci,id=sata", "-device", "qemu-xhci",
			"-device", "nvme,id=nvme,serial=NV",
		}
		for _, a := range [][2]string{
			{"driver=qcow2,node-name=chain,file.driver=file,file.filename=" + f + "/top.qcow2", "virtio-blk-pci,drive=chain,serial=A1,bootindex=3,iothread=io0"},
			{null("scsi"), "scsi-hd,drive=scsi,serial=S1,bus=scsi.0,logical_block_size=4096,physical_block_size=4096"},
			{null("shared"), "scsi-hd,drive=shared,share-rw=on,bus=scsi.0"},
			{null("cd2"), "scsi-cd,drive=cd2,bus=scsi.0"},
			{null("sata"), "ide-hd,drive=sata,bus=sata.0"},
			{null("ns"), "nvme-ns,drive=ns,bus=nvme"},
			{null("usb"), "usb-storage,drive=usb"},
			{null("fixed") + ",read-only=on", "virtio-blk-pci,drive=fixed"},
		} {
			args = append(args, "-blockdev", a[0], "-device", a[1])
		}
		return append(args, "-drive", "if=none,id=tray,media=cdrom", "-device", "ide-cd,drive=tray,bus=sata.1")
	})
	disks, err := v.m.Disks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Disk{}
	for _, d := range disks {
		if _, twice := got[d.Name]; twice {
			t.Errorf("%s twice", d.Name)
		}
		got[d.Name] = d
	}
	words := func(d Disk) string {
		return fmt.Sprintf("%s %s %d serial=%s boot=%d sectors=%d/%d thread=%t ro=%t impossible=%t: %s",
			d.Bus, d.Format, len(d.Chain), d.Serial, d.BootIndex, d.Logical, d.Physical, d.IOThread != "", d.ReadOnly, d.Impossible, d.LeftOut)
	}
	for name, want := range map[string]string{
		"vda":     "virtio qcow2 2 serial= boot=-1 sectors=512/512 thread=false ro=false impossible=false: transient disk: what is written vanishes when the machine is switched off",
		"vdb":     "virtio qcow2 2 serial=A1 boot=3 sectors=512/512 thread=true ro=false impossible=false: ",
		"vdc":     "virtio null-co 1 serial= boot=-1 sectors=512/512 thread=false ro=true impossible=false: ",
		"sda":     "scsi null-co 1 serial=S1 boot=-1 sectors=4096/4096 thread=true ro=false impossible=false: ",
		"sdb":     "scsi null-co 1 serial= boot=-1 sectors=512/512 thread=true ro=false impossible=false: shareable disk (share-rw=on): other machines may write to it too",
		"sdc":     "ide null-co 1 serial=QM00005 boot=-1 sectors=512/512 thread=false ro=false impossible=false: ",
		"sdd":     "usb null-co 1 serial= boot=-1 sectors=512/512 thread=false ro=false impossible=false: ",
		"nvme0n1": "nvme null-co 1 serial=NV boot=-1 sectors=512/512 thread=false ro=false impossible=false: ",
		"fd0":     "floppy null-co 1 serial= boot=-1 sectors=512/512 thread=false ro=false impossible=true: floppy drive",
		"sr0":     "ide raw 1 serial=QM00001 boot=-1 sectors=512/512 thread=false ro=true impossible=true: CD-ROM drive",
	} {
		if d := got[name]; words(d) != want {
			t.Errorf("%s is\n  %s, want\n  %s", name, words(d), want)
		}
	}
	for _, d := range disks {
		if strings.HasPrefix(d.Name, "sr") && !d.Impossible {
			t.Errorf("%+v", d)
		}
	}
	b := got["vdb"]
	if b.Chain[1].Driver != "raw" || b.Chain[1].Filename != filepath.Join(v.folder, "base.raw") || b.Size != 1<<20 {
		t.Errorf("%+v", b)
	}
	vm, err := v.m.VM(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if vm.Name != "a machine" || vm.UUID != "8e9a3b76-0d5c-4b0c-9d9e-3f1c1a2b3c4d" || !vm.Running || vm.PID != v.cmd.Process.Pid ||
		len(vm.Agents) != 1 || vm.Agents[0] != (Agent{v.folder + "/qga", false}) {
		t.Errorf("%+v", vm)
	}
}

func TestADiskIsNotRecognisedByItsNamesAlone(t *testing.T) {
	a := Disk{Chain: []Layer{{"qcow2", "/a", 10}, {"raw", "/base", 5}}}
	b := a
	b.Chain = []Layer{{"qcow2", "/a", 20}, {"raw", "/base", 5}}
	if a.Identity() != b.Identity() {
		t.Error("a resize makes another disk")
	}
	for _, chain := range [][]Layer{nil, a.Chain[:1], a.Chain[1:], {{"raw", "/a", 10}, {"raw", "/base", 5}}, {{"qcow2", "/a", 10}, {"raw", "/base", 6}}} {
		if (&Disk{Chain: chain}).Identity() == a.Identity() {
			t.Errorf("%v is the same as %v", chain, a.Chain)
		}
	}
}

func TestAPlanSaysWhatARunWouldDo(t *testing.T) {
	v := boot(t, twoDisks(t))
	plans, err := v.m.Plan(t.Context(), nil, "", v.scratch)
	if err != nil || len(plans) != 2 || plans[0].Mode != ModeScan || plans[0].Reason == "" || plans[0].Bytes != 64<<20 ||
		plans[0].Warning != "" || plans[1].Warning == "" || plans[0].Scratch != v.scratch.Folder {
		t.Fatalf("%+v, %v", plans, err)
	}
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	v.fill("two", 0, 128<<10, 1, nil)
	plans, err = v.m.Plan(t.Context(), []string{"vdb"}, bitmapOf("p1"), v.scratch)
	if err != nil || len(plans) != 1 || plans[0].Mode != ModeBitmap || plans[0].Bytes != 128<<10 {
		t.Errorf("%+v, %v", plans, err)
	}
	if _, err := v.m.Plan(t.Context(), []string{"vdz"}, "", v.scratch); err == nil || !strings.Contains(err.Error(), "vdz") {
		t.Error(err)
	}
}

func TestDisksThatComeGoAndGrowAreNoTrouble(t *testing.T) {
	v := boot(t, func(f string) []string {
		run1(t, "qemu-img", "create", "-q", "-f", "raw", f+"/three.raw", "64M")
		return twoDisks(t)(f)
	})
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	v.do("blockdev-add", object{"driver": "raw", "node-name": "n-three", "file": object{"driver": "file", "filename": v.folder + "/three.raw"}}, nil)
	v.do("device_add", object{"driver": "virtio-blk-pci", "id": "three", "drive": "n-three"}, nil)
	disks := append(both(), DiskRequest{Name: "vdc"})
	v.fill("three", 0, 1<<20, 5, nil)
	s := v.snapshot(SnapshotRequest{Disks: disks, Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	if s.Disks[0].Mode != ModeBitmap || s.Disks[2].Mode != ModeScan {
		t.Errorf("%+v", s.Disks)
	}
	// While it is read, a disk neither grows nor is torn away.
	if err := v.hand.Do(t.Context(), "block_resize", object{"node-name": "n-two", "size": 80 << 20}, nil); err == nil {
		t.Error("resized during a snapshot")
	}
	content(t, s.Disks[2], nil)
	v.release(s, true)

	v.do("block_resize", object{"node-name": "n-two", "size": 80 << 20}, nil)
	v.fill("two", 70<<20, 1<<20, 6, nil)
	want := make([]byte, 80<<20)
	for i := range 1 << 20 {
		want[70<<20+i] = 6
	}
	grown := both()
	grown[1].Scan = "its size changed"
	s = v.snapshot(SnapshotRequest{Disks: grown, Parent: bitmapOf("p2"), Point: bitmapOf("p3")})
	if d := s.Disks[1]; d.Mode != ModeScan || d.Reason != "its size changed" || d.Size() != 80<<20 {
		t.Errorf("%+v", d)
	}
	same(t, "vdb", content(t, s.Disks[1], nil), want)
	v.release(s, true)
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p3"), Point: bitmapOf("p4")})
	if d := s.Disks[1]; d.Mode != ModeBitmap {
		t.Errorf("%s", d.Reason)
	}
	v.release(s, true)
}

func TestAnOddSizeIsReadToItsLastByte(t *testing.T) {
	v := boot(t, func(f string) []string {
		run1(t, "qemu-img", "create", "-q", "-f", "raw", f+"/one.raw", "1000448") // 1954 sectors
		run1(t, "qemu-img", "create", "-q", "-f", "qcow2", f+"/two.qcow2", "33280")
		return append(diskArgs(t, f, "one", "raw"), diskArgs(t, f, "two", "qcow2")...)
	})
	parent := ""
	images := [][]byte{make([]byte, 1000448), make([]byte, 33280)}
	for i := range byte(3) {
		v.fill("one", 1000448-512, 512, i+1, images[0])
		v.fill("two", 33280-512, 512, i+1, images[1])
		point := bitmapOf(fmt.Sprintf("p%d", i))
		s := v.snapshot(SnapshotRequest{Disks: both(), Parent: parent, Point: point})
		for i, d := range s.Disks {
			same(t, d.Name, content(t, d, make([]byte, d.Size())), images[i])
		}
		v.release(s, true)
		parent = point
	}
}

func TestADiskThatQEMUReadsOverNBDIsLikeAnyOther(t *testing.T) {
	needs.Tools(t, "qemu-nbd")
	v := boot(t, func(f string) []string {
		run1(t, "qemu-img", "create", "-q", "-f", "raw", f+"/far.raw", "64M")
		run1(t, "qemu-nbd", "--fork", "-f", "raw", "-k", f+"/far", "--pid-file="+f+"/far.pid", f+"/far.raw")
		return append(diskArgs(t, f, "one", "qcow2"), "-blockdev", "driver=raw,node-name=n-far,file.driver=nbd,file.server.type=unix,file.server.path="+f+"/far",
			"-device", "virtio-blk-pci,id=far,drive=n-far")
	})
	image := make([]byte, 64<<20)
	v.fill("far", 5<<20, 1<<20, 7, image)
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	v.fill("far", 5<<20, 2<<20, 8, nil)
	same(t, "vdb", content(t, s.Disks[1], nil), image)
	v.release(s, true)
}

func TestQEMUOfAnotherUserUsesTheScratchFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start QEMU as another user")
	}
	v := bootAs(t, nobody, func(f string) []string {
		args := twoDisks(t)(f)
		for _, path := range []string{f, f + "/one.qcow2", f + "/two.raw"} {
			if err := os.Chown(path, int(nobody.Uid), int(nobody.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		return args
	})
	if v.m.process.uid != int(nobody.Uid) {
		t.Fatalf("QEMU runs as %d", v.m.process.uid)
	}
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	content(t, s.Disks[0], nil)
	v.release(s, true)

	closed := v.scratch
	closed.Folder = filepath.Join(v.folder, "closed", "scratch")
	if err := os.Mkdir(filepath.Dir(closed.Folder), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p2"), Scratch: closed})
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), filepath.Dir(closed.Folder)) {
		t.Error(err)
	}
	left, err := v.m.Leftovers(t.Context(), CleanRequest{Vault: testVault, Keep: bitmapOf("p1"), Scratch: closed})
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// denying is a monitor whose QEMU may not open files in the scratch folder.
type denying struct{ *qmp.Client }

func (d denying) Do(ctx context.Context, command string, args, reply any) error {
	if o, ok := args.(object); ok && command == "blockdev-add" && o["driver"] == "file" {
		return &qmp.Error{Command: command, Class: qmp.GenericError, Desc: fmt.Sprintf("Could not open '%s': Permission denied", o["filename"])}
	}
	return d.Client.Do(ctx, command, args, reply)
}

func TestADenialByASecurityProfileIsExplained(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.m.mon = denying{v.mon}
	_, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p1"), Scratch: v.scratch})
	if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "security profile") {
		t.Error(err)
	}
	v.nothingLeft(false, SnapshotRequest{Point: bitmapOf("p1")})
}

// deaf is a monitor that leaves one question about devices unanswered.
type deaf struct {
	*qmp.Client
	property string
}

func (d deaf) Do(ctx context.Context, command string, args, reply any) error {
	if o, ok := args.(object); ok && command == "qom-get" && o["property"] == d.property {
		return context.DeadlineExceeded
	}
	return d.Client.Do(ctx, command, args, reply)
}

func TestDisksAreNotNamedByGuessWhereTheMonitorFallsSilent(t *testing.T) {
	v := boot(t, twoDisks(t))
	for _, property := range []string{"type", "serial", "share-rw", "iothread"} {
		v.m.mon = deaf{v.mon, property}
		if disks, err := v.m.Disks(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, disks %+v", property, err, disks)
		}
	}
	v.m.mon = v.mon
	if disks, err := v.m.Disks(t.Context()); err != nil || len(disks) != 2 {
		t.Errorf("%v, disks %+v", err, disks)
	}
}
