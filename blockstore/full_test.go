package blockstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// fault makes writes or syncs fail while it is on.
type fault struct {
	on    atomic.Bool
	hits  atomic.Int32
	match func(name string) bool
	err   error
}

func (f *fault) strikes(name string) bool {
	if !f.on.Load() || !f.match(name) {
		return false
	}
	f.hits.Add(1)
	return true
}

// install makes the files of an owner fail.
func (f *fault) install(o *Owner, write bool) {
	if write {
		plain := o.dir.Ops.WriteAt
		o.dir.Ops.WriteAt = func(file *os.File, name string, p []byte, off int64) (int, error) {
			if f.strikes(name) {
				n, _ := plain(file, name, p[:len(p)/2], off) // as a full disk does
				return n, f.err
			}
			return plain(file, name, p, off)
		}
		return
	}
	plain := o.dir.Ops.Sync
	o.dir.Ops.Sync = func(file *os.File, name string) error {
		if f.strikes(name) {
			return f.err
		}
		return plain(file, name)
	}
}

// in tells whether a name lies in a folder of the vault, as a file or as the folder
// that names it.
func in(folder string, depth int) func(string) bool {
	return func(name string) bool {
		return strings.HasPrefix(name, folder+"/") && strings.Count(name, "/") == depth
	}
}

var faultyPlaces = []struct {
	name  string
	write bool
	match func(string) bool
}{
	{"write of a pack", true, in(packsDir, 3)},
	{"sync of a pack", false, in(packsDir, 3)},
	{"sync of the folder of a pack", false, in(packsDir, 2)},
	{"write of a segment", true, in(segmentsDir, 2)},
	{"sync of a segment", false, in(segmentsDir, 2)},
	{"sync of the folder of a segment", false, in(segmentsDir, 1)},
	{"write of a point", true, in(pointsDir, 2)},
	{"sync of a point", false, in(pointsDir, 2)},
	{"sync of the folder of a point", false, in(pointsDir, 1)},
}

func TestAFailedWriteOrSyncFailsTheBackupAndNothingElse(t *testing.T) {
	for _, place := range faultyPlaces {
		for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(fmt.Sprintf("%s: %v", place.name, err), func(t *testing.T) {
				t.Parallel()
				failOnce(t, &fault{match: place.match, err: err}, place.write, strings.HasSuffix(place.name, "pack"))
			})
		}
	}
}

func failOnce(t *testing.T, f *fault, write, packs bool) {
	t.Helper()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	f.install(o, write)
	backup := func(machine string, round int) error {
		_, err := backUpSelfTold(t.Context(), o, machine, crashDisk(7, 0, round))
		return err
	}
	if err := backup("vm0", 0); err != nil {
		t.Fatal(err)
	}
	if err := backup("vm1", 0); err != nil {
		t.Fatal(err)
	}
	f.on.Store(true)
	err := backup("vm0", 1)
	if err == nil || !errors.Is(err, f.err) || errors.Is(err, ErrFull) != (f.err == syscall.ENOSPC) {
		t.Errorf("the backup that met the fault: %v", err)
	}
	if f.hits.Load() == 0 {
		t.Fatal("the fault did not strike")
	}
	want := 2
	if packs { // one that has nothing to store needs no pack
		if err := backup("vm1", 0); err != nil {
			t.Errorf("a backup that needs no pack: %v", err)
		}
		want++
	}
	examinePoints(t, dir, want)
	f.on.Store(false)
	for _, vm := range []string{"vm1", "vm0"} {
		if err := backup(vm, 1); err != nil {
			t.Fatalf("after the fault: %v", err)
		}
		want++
	}
	examinePoints(t, dir, want)
	if left := temps(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = ownVault(t, dir, OwnOptions{})
	examinePoints(t, dir, want)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// examinePoints looks at a vault as another process would.
func examinePoints(t *testing.T, dir string, want int) {
	t.Helper()
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if points := mustTellTheTruth(t, v); len(points) != want {
		t.Errorf("%d points, want %d", len(points), want)
	}
	mustCheck(t, v)
}

func TestAfterAFaultTheNextOwnerBelievesOnlyWhatItSynced(t *testing.T) {
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	f := &fault{match: in(packsDir, 3), err: syscall.EIO}
	f.install(o, false)
	f.on.Store(true)
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(7, 0, 0)); err == nil {
		t.Fatal("the fault did not strike")
	}
	f.on.Store(false)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	owner, err := v.readOwner(o.claim.owner.Writer)
	if err != nil || owner.Clean {
		t.Errorf("the owner says that it ended well: %+v, %v", owner, err)
	}
}

// mountTiny mounts a file system in memory of so many MiB.
func mountTiny(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		needs.That(t, false, "a small file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskEndsABackupAndHarmsNoPoint(t *testing.T) {
	t.Parallel()
	root := mountTiny(t, 80)
	dir := filepath.Join(root, "vault")
	if _, err := Create(t.Context(), dir, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(root, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := Own(t.Context(), dir, OwnOptions{}) // with the floor that it has by itself
	if err != nil {
		t.Fatal(err)
	}
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 60<<20)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range big {
		big[i] = byte(r.Uint32())
	}
	if _, err := backUpSelfTold(t.Context(), o, "vm1", big); !errors.Is(err, ErrFull) {
		t.Fatalf("a backup that does not fit: %v", err)
	}
	examinePoints(t, dir, 1)
	// On so small a disk the index wants more free than the backup left: what is not in it the next owner puts there.
	if err := o.Close(); err != nil && !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	examinePoints(t, dir, 1)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if o, err = Own(t.Context(), dir, OwnOptions{}); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if _, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(1, 0, 1)); err != nil {
		t.Fatal(err)
	}
	examinePoints(t, dir, 2)
	// What the backup that failed had stored is there still.
	if p, err := backUpSelfTold(t.Context(), o, "vm1", big[:20<<20]); err != nil || p.Sizes.Stored > 2<<20 {
		t.Errorf("%+v, %v", p, err)
	}
}
