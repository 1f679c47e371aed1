package libvirt

import (
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

const threadedDisks = `<disk type='file' device='disk'><driver name='qemu' type='qcow2' iothread='1'/><source file='DIR/vda.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='DIR/vdb.raw'/><target dev='vdb' bus='virtio'/></disk>`

func TestADiskWithAnIOThreadIsNeverExportedByAQEMUThatWouldDie(t *testing.T) {
	v := define(t, vmOptions{disks: threadedDisks, top: "<iothreads>1</iothreads>", runs: true})
	version, err := v.runningQEMU(ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	v.io("vda", "write -P 1 1M 64k")
	v.io("vdb", "write -P 2 2M 64k")
	disks, err := v.Disks(ctx(t))
	if err != nil || disks[0].IOThread != 1 || disks[1].IOThread != 0 {
		t.Fatalf("I/O threads: %v %v", disks, err)
	}
	s := take(v, request(v, "", p1))
	v.io("vda", "write -P 9 1M 64k")
	if copied := strings.Contains(s.Disks[0].Reason, "copied"); copied != version.Before(9, 0) {
		t.Errorf("QEMU %s: %s", version, s.Disks[0].Reason)
	}
	a, _ := readAll(t, s.Disks[0], nil)
	b, _ := readAll(t, s.Disks[1], nil)
	want(t, a, 1<<20, 1, 64<<10)
	want(t, b, 2<<20, 2, 64<<10)
	if err := s.Check(ctx(t)); err != nil {
		t.Error(err)
	}
	release(v, s, true)
	if state, _, err := v.State(ctx(t)); state != Running {
		t.Fatalf("the domain is %s %v", state, err)
	}
	wantClean(v, p1)
	if !version.Before(9, 0) {
		return
	}
	q := request(v, "", p1)
	q.Scratch.Cap = 1 << 20
	if _, err := v.Snapshot(ctx(t), q); !errors.Is(err, ErrScratch) || !strings.Contains(err.Error(), "I/O thread") {
		t.Errorf("a copy that does not fit: %v", err)
	}
	plans, err := v.Plan(ctx(t), request(v, "", ""))
	if err != nil || plans[0].Warning == "" || plans[0].Mode != qemu.ModeScan {
		t.Errorf("plan: %+v %v", plans, err)
	}
}

func TestRawDisksAreTrackedWhereTheTaintIsAccepted(t *testing.T) {
	v := define(t, vmOptions{runs: true})
	q := request(v, "", p1)
	q.RawBitmaps = true
	s := take(v, q)
	a, _ := readAll(t, s.Disks[0], nil)
	b, _ := readAll(t, s.Disks[1], nil)
	release(v, s, true)
	v.io("vda", "write -P 1 1M 64k")
	v.io("vdb", "write -P 2 2M 64k")
	q.Parent, q.Point = p1, p2
	s = take(v, q)
	for i, parent := range [][]byte{a, b} {
		content, read := readAll(t, s.Disks[i], parent)
		want(t, content, int64(i+1)<<20, byte(i+1), 64<<10)
		if s.Disks[i].Mode != qemu.ModeBitmap || read != 64<<10 {
			t.Errorf("%s: %s (%s), %d bytes read", s.Disks[i].Name, s.Disks[i].Mode, s.Disks[i].Reason, read)
		}
	}
	if err := s.Check(ctx(t)); err != nil {
		t.Error(err)
	}
	release(v, s, true)
	out, err := v.virsh(ctx(t), "dominfo")
	if err != nil || !strings.Contains(out, "tainted") {
		t.Errorf("libvirt does not say that the domain is tainted: %v", err)
	}
	if left, err := v.Leftovers(ctx(t), CleanRequest{Keep: p2, Scratch: q.Scratch}); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
	vault, _ := oursFor(p2)
	clean := CleanRequest{Vault: vault, Keep: p2, Scratch: q.Scratch, RawBitmaps: true}
	if left, err := v.Leftovers(ctx(t), clean); err != nil || len(left) > 0 {
		t.Errorf("left in QEMU: %v %v", left, err)
	}
	clean.Keep = ""
	gone, err := v.Clean(ctx(t), clean)
	if err != nil || len(gone) != 2 || gone[0].Kind != "bitmap" || gone[1].Kind != "bitmap" {
		t.Errorf("taken out of QEMU: %v %v", gone, err)
	}
	q.Parent, q.Point = "", p1
	s = take(v, q)
	if _, err := v.Clean(ctx(t), clean); !errors.Is(err, qemu.ErrBusy) {
		t.Errorf("cleaned while a run works: %v", err)
	}
	release(v, s, false)
	plans, err := v.Plan(ctx(t), q)
	if err != nil || plans[0].Mode != qemu.ModeScan {
		t.Errorf("the first point: %+v %v", plans, err)
	}
}

func TestAPlanSaysWhatABackupWouldRead(t *testing.T) {
	v := define(t, vmOptions{})
	first(v)
	v.io("vda", "write -P 1 1M 64k")
	plans, err := v.Plan(ctx(t), request(v, p1, ""))
	if err != nil {
		t.Fatal(err)
	}
	if p := plans[0]; p.Mode != qemu.ModeBitmap || p.Bytes != 64<<10 || p.Scratch != v.dir || p.Warning != "" {
		t.Errorf("vda: %+v", p)
	}
	if p := plans[1]; p.Mode != qemu.ModeScan || !strings.Contains(p.Reason, "raw") {
		t.Errorf("vdb: %+v", p)
	}
	all, err := v.Plan(ctx(t), SnapshotRequest{})
	if err != nil || len(all) != 2 || all[0].Scratch != Folder {
		t.Errorf("all disks that are not left out: %+v %v", all, err)
	}
	q := request(v, "", p2)
	q.Disks = []qemu.DiskRequest{{Name: "hdc"}}
	if _, err := v.Snapshot(ctx(t), q); err == nil || !strings.Contains(err.Error(), "CD-ROM") {
		t.Errorf("a CD-ROM drive: %v", err)
	}
	q.Disks[0].Name = "vdz"
	if _, err := v.Snapshot(ctx(t), q); err == nil || !strings.Contains(err.Error(), "vdz") {
		t.Errorf("a disk that is not there: %v", err)
	}
	v.Stop(ctx(t))
	if _, err := v.Snapshot(ctx(t), request(v, p1, p2)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a domain that is off: %v", err)
	}
	if plans, err := v.Plan(ctx(t), request(v, p1, "")); err != nil || plans[0].Mode != qemu.ModeScan {
		t.Errorf("a domain that is off: %+v %v", plans, err)
	}
}
