package integration

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestBothDaysOfADiskComeBackByteForByte is the main job: back up, change, back up,
// restore each in every format, look through the mount, check.
func TestBothDaysOfADiskComeBackByteForByte(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	image, file := ext4Image(t)
	v := newVault(t)
	v.backup("web1", image)
	first := filepath.Join(t.TempDir(), "first.raw")
	tool(t, "cp", "--sparse=always", image, first)

	note := filepath.Join(t.TempDir(), "note")
	if err := os.WriteFile(note, []byte("written on the second day\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "debugfs", "-w", "-R", "rm "+file, image)
	tool(t, "debugfs", "-w", "-R", "write "+note+" note.txt", image)
	v.backup("web1", image)

	points := v.points("web1")
	if len(points) != 2 {
		t.Fatalf("%d points, want 2", len(points))
	}
	if one, two := points[0].Sizes, points[1].Sizes; two.Changed == 0 || two.Stored > one.Stored/10 {
		t.Errorf("the second point changed %d bytes and stored %d, the first %d: cost does not follow change", two.Changed, two.Stored, one.Stored)
	}
	for i, want := range []string{first, image} {
		ref := "web1@" + points[i].ID
		raw, qcow2 := filepath.Join(t.TempDir(), "r.raw"), filepath.Join(t.TempDir(), "r.qcow2")
		v.must(0, "restore", ref, "--to", raw, "--verify")
		tool(t, "cmp", raw, want)
		v.must(0, "restore", ref, "--to", qcow2, "--format", "qcow2")
		tool(t, "qemu-img", "check", qcow2)
		tool(t, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", want, qcow2)
	}
	v.must(0, "check", "--data")
}

// TestAFileCopiedOutOfAMountedDiskIsTheFile reads a guest's file out of the disk in
// the mount with a tool that knows nothing of us, and the disk itself with another.
func TestAFileCopiedOutOfAMountedDiskIsTheFile(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	image, file := ext4Image(t)
	v := newVault(t)
	v.backup("web1", image)
	at, _ := v.mounted()
	disk := filepath.Join(at, "web1", "latest", "disks", "vda.raw")
	tool(t, "cmp", disk, image)
	tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", disk, image)
	out := filepath.Join(t.TempDir(), "out")
	tool(t, "debugfs", "-R", "dump "+file+" "+out, disk)
	tool(t, "cmp", out, filepath.Join(goRoot(t), "src", file))
}

// TestAQcow2ImageAndItsRawTwinAreStoredOnce backs up two disks of equal content,
// one of them qcow2, in one point; the second costs next to nothing and both come back.
func TestAQcow2ImageAndItsRawTwinAreStoredOnce(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img", "qemu-nbd")
	raw := noisyImage(t, 1, 40)
	qcow2 := filepath.Join(t.TempDir(), "twin.qcow2")
	tool(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2)
	v := newVault(t)
	v.must(0, "backup", "db1", "--disk", "vda="+raw, "--disk", "vdb="+qcow2+",format=qcow2")
	folder := filepath.Join(t.TempDir(), "all")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if stored := v.points()[0].Sizes.Stored; stored > 45<<20 {
		t.Errorf("%d bytes stored for 35 MiB twice", stored)
	}
	v.must(0, "restore", "db1@latest", "--disk", "vda="+filepath.Join(folder, "a.raw"), "--disk", "vdb="+filepath.Join(folder, "b.qcow2"))
	tool(t, "cmp", raw, filepath.Join(folder, "a.raw"))
	tool(t, "qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", qcow2, filepath.Join(folder, "b.qcow2"))
}

// TestWithoutItsIndexAVaultLosesNothing removes the index, which is never the only copy of
// anything: reading goes on at once, and the next backup stores nothing twice.
func TestWithoutItsIndexAVaultLosesNothing(t *testing.T) {
	t.Parallel()
	image := noisyImage(t, 2, 20)
	v := newVault(t)
	v.backup("web1", image)
	if err := os.RemoveAll(filepath.Join(v.path, "index")); err != nil {
		t.Fatal(err)
	}
	if got, want := v.restored("web1", "latest"), hashFile(t, image); got != want {
		t.Error("the disk differs")
	}
	change(t, image, rand.New(rand.NewPCG(1, 1)), 3)
	v.backup("web2", image) // another machine: nothing comes from a parent's map
	if stored := v.points("web2")[0].Sizes.Stored; stored > 2<<20 {
		t.Errorf("%d bytes stored again", stored)
	}
	v.must(0, "check", "--data")
}
