package backup_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce"
)

func TestAVMThatIsOffIsReadFromItsImages(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(4*block))
	p.good()
	p.facts.On, p.facts.Status = false, "shut off"
	p.write("vda", 0, "while nobody tracked")
	r := p.good()
	if r.Point.Reached != blockstore.Crash || r.Point.Quiesced != nil || r.Point.Disks[0].Bus != "virtio" || slices.Contains(p.calls, "snapshot") {
		t.Errorf("the point is %+v", r.Point)
	}
	p.facts.Clean = true
	if r := p.good(); r.Point.Reached != blockstore.Application {
		t.Errorf("a VM that shut itself down: %s (%s)", r.Point.Reached, r.Point.Reason)
	}
	p.facts.On = true
	if r := p.good(); r.Point.Disks[0].Reason != "the machine was off when the point before was made" {
		t.Errorf("on again: %v", modes(r))
	}
	p.facts.On, p.facts.Clean = false, false
	p.protect(func(r *blockstore.Protection) { r.Consistency = blockstore.Filesystem })
	var not *quiesce.NotReachedError
	if _, err := p.run(); !errors.As(err, &not) {
		t.Errorf("a consistency that nobody can promise: %v", err)
	}
}

func TestADiskThatCannotBeReadWhileTheVMIsOffIsNotPassedOverInSilence(t *testing.T) {
	t.Parallel()
	p := newPlant(t, newHost(block))
	image := filepath.Join(t.TempDir(), "vda.raw")
	if err := os.WriteFile(image, p.disk("vda").content, 0o600); err != nil {
		t.Fatal(err)
	}
	images := []blockstore.ImageDisk{
		{Name: "vda", Path: image, Format: "raw"},
		{Name: "vdb", Path: "nbd://other/vdb", Format: "raw", Unreadable: "it is no file of this host"},
		{Name: "vdc", Path: image, Format: "raw", Shareable: true},
	}
	protect := func(exclude ...string) {
		p.protect(func(r *blockstore.Protection) {
			r.QEMU.QMP, r.Images, r.Exclude = filepath.Join(t.TempDir(), "qmp"), images, exclude
		})
	}
	p.q.Open = backup.Reaching{}.Open
	protect()
	r, err := p.run()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Point.Disks) != 1 || len(r.Point.LeftOut) != 2 || !strings.Contains(r.Point.LeftOut[0].Reason, "while the VM is off") ||
		!strings.Contains(r.Point.LeftOut[1].Reason, "shareable") {
		t.Errorf("disks %v, left out %v", modes(r), r.Point.LeftOut)
	}
	if said := strings.Join(r.Warnings, "\n"); !strings.Contains(said, "disk vdb (nbd://other/vdb) is not in the point") || len(r.Warnings) != 1 {
		t.Errorf("warnings %q", r.Warnings)
	}
	protect("vdb")
	if r, err = p.run(); err != nil || len(r.Warnings) != 0 {
		t.Errorf("one that is excluded: %v, warnings %q", err, r.Warnings)
	}
}

func TestWhatIsOursIsTakenOutOfAVMThatIsOff(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	path := filepath.Join(t.TempDir(), "vda.qcow2")
	for _, args := range [][]string{{"create", "-q", "-f", "qcow2", path, "1M"}, {"bitmap", "--add", path, "hf-v1-p1"}, {"bitmap", "--add", path, "hf-v2-p1"}} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", args, out)
		}
	}
	vm, err := backup.Reaching{}.Open(t.Context(), &blockstore.Protection{QEMU: &blockstore.QEMUVM{QMP: filepath.Join(t.TempDir(), "qmp")},
		Images: []blockstore.ImageDisk{{Name: "vda", Path: path, Format: "qcow2"}, {Name: "vdb", Path: "nbd://x", Format: "qcow2", Unreadable: "far away"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	removed, err := backup.TakeOut(t.Context(), vm, "v1")
	if err != nil || len(removed) != 1 || !strings.Contains(removed[0], "hf-v1-p1 in "+path) {
		t.Errorf("removed %q: %v", removed, err)
	}
	if out, _ := exec.Command("qemu-img", "info", path).Output(); !strings.Contains(string(out), "hf-v2-p1") {
		t.Errorf("what is another vault's is gone: %s", out)
	}
}
