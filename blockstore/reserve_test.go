package blockstore

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// mountExt4 mounts a small ext4 file system.
func mountExt4(t *testing.T, mib int64) string {
	t.Helper()
	image, dir := filepath.Join(scratch(t), "ext4"), t.TempDir()
	missing := func(what string, err error) {
		needs.That(t, false, "root, mkfs.ext4 and loop devices, for a small ext4; %s: %v", what, err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, mib<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-m", "0", image).CombinedOutput(); err != nil {
		missing(string(out), err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, dir).CombinedOutput(); err != nil {
		missing(string(out), err)
	}
	t.Cleanup(func() {
		// Segments stay mapped until they are collected; the loop device goes with the last.
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	})
	return dir
}

// fillUp leaves not one byte free in a folder's file system.
func fillUp(t *testing.T, folder string) {
	t.Helper()
	for size := 1 << 20; size > 0; size /= 2 { // a large piece at a time, then what is left
		f, err := os.CreateTemp(folder, "ballast")
		if err != nil {
			if errors.Is(err, unix.ENOSPC) {
				return
			}
			t.Fatal(err)
		}
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		f.Sync()
		f.Close()
	}
}

func TestAVaultThatIsFullToTheLastByteIsSweptAndUsedAgain(t *testing.T) {
	for kind, mount := range map[string]func(t *testing.T) string{
		"tmpfs": func(t *testing.T) string { return mountTiny(t, 256) },
		"ext4":  func(t *testing.T) string { return mountExt4(t, 256) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			root := mount(t)
			dir := filepath.Join(root, "vault")
			if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			points, disks := fillVault(t, dir)
			if st, err := os.Stat(filepath.Join(dir, reserveFile)); err != nil || st.Size() < 1<<20 || st.Sys() == nil {
				t.Fatalf("the vault has set nothing aside: %v", err)
			}
			fillUp(t, root)
			if _, err := Own(t.Context(), dir, OwnOptions{MinFree: -1}); !errors.Is(err, ErrFull) {
				t.Fatalf("a full vault is opened for backups: %v", err)
			}
			makeRoom(t, dir, func(o *Owner) error { return errors.Join(o.Delete(points[0]), o.Delete(points[1])) })
			makeRoom(t, dir, func(o *Owner) error {
				if _, err := o.Begin(t.Context(), BackupOptions{Machine: "vm9"}); !errors.Is(err, ErrFull) {
					t.Errorf("a backup begins: %v", err)
				}
				r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true})
				if err == nil && (r.Freed < 30<<20 || len(r.Dropped) != 2) {
					t.Errorf("freed %d bytes, dropped %d points", r.Freed, len(r.Dropped))
				}
				return err
			})
			useAgain(t, dir, points[2], disks[2])
		})
	}
}

func TestAFullVaultThatHasNothingSetAsideFailsWithAWordAndFreesWhatItCan(t *testing.T) {
	t.Parallel()
	root := mountTiny(t, 256)
	dir := filepath.Join(root, "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	points, _ := fillVault(t, dir)
	o, err := Own(t.Context(), dir, OwnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(points[0]); err != nil {
		t.Fatal(err)
	}
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "vm1", Asked: Crash, Reached: Crash})
	if err != nil {
		t.Fatal(err)
	}
	disk := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{6}).Read(disk)
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda", Format: "raw"}, memory(disk), nil); err != nil {
		t.Fatal(err)
	}
	b.Abort() // its packs are named by no point
	if err := errors.Join(o.Close(), os.Remove(filepath.Join(dir, reserveFile))); err != nil {
		t.Fatal(err)
	}
	if o, err = Own(t.Context(), dir, OwnOptions{MinFree: -1}); err != nil { // names them in a segment
		t.Fatal(err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	fillUp(t, root)
	o, err = Own(t.Context(), dir, OwnOptions{Reclaim: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(points[1]); !errors.Is(err, ErrFull) {
		t.Errorf("a point is deleted where there is no room to write that: %v", err)
	}
	r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true})
	if err != nil || len(r.Dropped) != 1 || r.Freed < 28<<20 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	mustTellTheTruth(t, v)
	mustCheck(t, v)
}

// fillVault makes three points of 24 MiB each.
func fillVault(t *testing.T, dir string) (points []*Point, disks [][]byte) {
	t.Helper()
	o, err := Own(t.Context(), dir, OwnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.NewChaCha8([32]byte{5})
	for range 3 {
		disk := make([]byte, 24<<20)
		rng.Read(disk)
		p, err := backUpSelfTold(t.Context(), o, "vm0", disk)
		if err != nil {
			t.Fatal(err)
		}
		points, disks = append(points, p), append(disks, disk)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return points, disks
}

// makeRoom opens a vault to make room in it.
func makeRoom(t *testing.T, dir string, do func(o *Owner) error) {
	t.Helper()
	o, err := Own(t.Context(), dir, OwnOptions{Reclaim: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := do(o); err != nil {
		t.Error(err)
	}
	if err := o.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, reserveFile)); err != nil {
		t.Errorf("nothing is set aside any more: %v", err)
	}
}

// useAgain makes a point in a vault that was full.
func useAgain(t *testing.T, dir string, kept *Point, disk []byte) {
	t.Helper()
	o, err := Own(t.Context(), dir, OwnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	p, err := backUpSelfTold(t.Context(), o, "vm0", disk)
	if err != nil {
		t.Fatal(err)
	}
	if p.Sizes.Stored > 64<<10 {
		t.Errorf("%d bytes were stored again", p.Sizes.Stored)
	}
	if !bytes.Equal(readDisk(t, o.Vault, kept, "vda"), disk) {
		t.Error("the point that stayed is not what was backed up")
	}
	mustTellTheTruth(t, o.Vault)
	mustCheck(t, o.Vault)
}
