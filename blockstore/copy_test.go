package blockstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forgetPlace makes a copy of a vault pass for a vault that lay there always.
func forgetPlace(t testing.TB, dir string, o Options) {
	t.Helper()
	v, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w, err := v.ownWriter()
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.lockOwner(w)
	if err != nil {
		t.Fatal(err)
	}
	defer c.lock.Release()
	if c.unknown {
		return
	}
	c.owner = c.last
	c.owner.Place = Place{}
	if err := v.writeOwner(c); err != nil {
		t.Fatal(err)
	}
}

// copyWhole copies a vault file by file, its index too, as cp -a does.
func copyWhole(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(scratch(t), "copy")
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return to
}

// another is a host that is not this one.
func another(name string) *Host { return &Host{Name: name, ID: name + "-id", BootID: name + "-boot"} }

func TestACopyIsToldFromItsOriginalUntilItHasAnIdOfItsOwn(t *testing.T) {
	s := makeSample(t)
	copied := copyWhole(t, s.dir)

	_, err := Own(t.Context(), copied, OwnOptions{MinFree: -1})
	var isCopy *CopyError
	if !errors.As(err, &isCopy) || isCopy.Original != s.dir {
		t.Fatalf("writing into a copy: %v", err)
	}
	v, err := Open(t.Context(), copied, Options{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := v.Standing()
	if err != nil || st.CopyOf != s.dir || st.OtherHost {
		t.Errorf("the copy says of itself %+v, %v", st, err)
	}
	v.Close()
	ownVault(t, s.dir, OwnOptions{}).Close() // the original is what it was

	took, err := TakeOver(t.Context(), copied, TakeOverOptions{})
	if err != nil || took.CopyOf != s.dir || took.OldID == "" || took.OldID == took.Info.ID {
		t.Fatalf("%+v, %v", took, err)
	}
	for _, dir := range []string{copied, s.dir} {
		o := ownVault(t, dir, OwnOptions{})
		backUp(t, o, "web1", map[string]Source{"vda": memory(s.last)})
		mustCheck(t, o.Vault)
		if id := o.Info().ID; (id == took.Info.ID) != (dir == copied) {
			t.Errorf("vault %s has id %s", dir, id)
		}
		if st, err := o.Standing(); err != nil || st.CopyOf != "" || st.String() != "" {
			t.Errorf("vault %s says of itself %+v, %v", dir, st, err)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAVaultThatWasMovedGoesOn(t *testing.T) {
	s := makeSample(t)
	to := filepath.Join(filepath.Dir(s.dir), "elsewhere")
	if err := os.Rename(s.dir, to); err != nil {
		t.Fatal(err)
	}
	back := copyWhole(t, to)
	if err := os.Rename(back, s.dir); err != nil { // a copy takes the old place: it does not pass for the original
		t.Fatal(err)
	}
	o := ownVault(t, to, OwnOptions{Options: Options{Warn: func(w string) { t.Error(w) }}})
	backUp(t, o, "web1", map[string]Source{"vda": memory(s.last)})
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	ownVault(t, to, OwnOptions{Options: Options{Warn: func(w string) { t.Error(w) }}}).Close()

	// Copied, and the original is gone, or out of sight.
	copied := copyWhole(t, to)
	if err := os.RemoveAll(filepath.Join(copied, indexDir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} { // once
		var warned []string
		ownVault(t, copied, OwnOptions{Options: Options{Warn: func(w string) { warned = append(warned, w) }}}).Close()
		if len(warned) != want || want == 1 && !strings.Contains(warned[0], to) {
			t.Errorf("warnings: %q", warned)
		}
	}
}

func TestTheSameVaultByAnotherPathIsNoCopy(t *testing.T) {
	s := makeSample(t)
	link := filepath.Join(scratch(t), "link")
	if err := os.Symlink(s.dir, link); err != nil {
		t.Fatal(err)
	}
	ownVault(t, link, OwnOptions{Options: Options{Warn: func(w string) { t.Error(w) }}}).Close()
	v, err := Open(t.Context(), link, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if st, err := v.Standing(); err != nil || st.String() != "" {
		t.Errorf("%+v, %v", st, err)
	}
}

// stampAsHere makes an index pass for one that was written where it lies.
func stampAsHere(t *testing.T, dir string) {
	t.Helper()
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_INO|unix.STATX_BTIME, &st); err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, "inode %d born %d.%09d\n", st.Ino, st.Btime.Sec, st.Btime.Nsec)
	if err := os.WriteFile(filepath.Join(dir, "HERE"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnIndexOfAnotherMomentLeadsToNoPointWithoutItsContent joins an index from
// before a sweep with the packs from after it.
func TestAnIndexOfAnotherMomentLeadsToNoPointWithoutItsContent(t *testing.T) {
	for _, forged := range []bool{false, true} {
		s := makeSample(t)
		early := copyWhole(t, s.dir)
		o := ownVault(t, s.dir, OwnOptions{})
		points, err := o.Points(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			if err := o.Delete(p); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
			t.Fatal(err)
		}
		backUp(t, o, "other", map[string]Source{"vda": memory(s.last[:1<<20])})
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		copied := copyWhole(t, s.dir)
		index := filepath.Join(indexDir, string(o.claim.owner.Writer))
		if err := os.RemoveAll(filepath.Join(copied, index)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(early, index), filepath.Join(copied, index)); err != nil {
			t.Fatal(err)
		}
		if forged { // as if it had been written there
			stampAsHere(t, filepath.Join(copied, index))
		}
		if _, err := TakeOver(t.Context(), copied, TakeOverOptions{}); err != nil {
			t.Fatal(err)
		}
		o = ownVault(t, copied, OwnOptions{})
		p := backUp(t, o, "web1", map[string]Source{"vda": memory(s.last)})
		if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), s.last) {
			t.Error("the point differs from what was backed up")
		}
		mustCheck(t, o.Vault)
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// namesIn lists the files of a vault without its index.
func namesIn(t testing.TB, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if rel == indexDir {
			return fs.SkipDir
		}
		if !d.IsDir() {
			names[rel] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// copyInOrder copies what is in a vault when it begins, as the README says: a list from
// points to packs, copied from packs to points.
func copyInOrder(from, to string) error {
	var list []string
	for _, top := range []string{pointsDir, attrsDir, damagedDir, machinesDir, policiesDir, writersDir, segmentsDir, packsDir} {
		err := filepath.WalkDir(filepath.Join(from, top), func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".tmp-") {
				list = append(list, p)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	vault, err := filepath.Glob(filepath.Join(from, vaultDir, "*"))
	if err != nil {
		return err
	}
	slices.Reverse(list)
	for _, p := range append(list, vault...) {
		b, err := os.ReadFile(p)
		if err != nil {
			return err // it is held: nothing goes
		}
		rel, _ := filepath.Rel(from, p)
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, rel)), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, rel), b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// checkCopy wants no fault in a copy, but for points that were committed between
// the listing of points and that of segments: all that they name is there, and
// the copy's first owner puts their records back.
func checkCopy(t *testing.T, v *Vault) {
	t.Helper()
	r, err := v.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Points == 0 {
		t.Error("the copy has no point")
	}
	for _, f := range r.Faults {
		if f.What != errPointLost.Error() {
			t.Errorf("fault: %+v", f)
		}
	}
}

// TestACopyMadeWhileTheVaultIsHeldIsWholeThoughBackupsAndSweepsRun copies again and
// again beside an owner that backs up, deletes and sweeps.
func TestACopyMadeWhileTheVaultIsHeldIsWholeThoughBackupsAndSweepsRun(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = 1 << 20
	r := rand.New(rand.NewPCG(7, 0))
	disk := make([]byte, 4<<20)
	fill(r, disk, len(disk))
	backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(disk))})
	stop, swept := make(chan struct{}), 0
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			fill(r, disk, 300<<10)
			p := backUp(t, o, "web1", map[string]Source{"vda": memory(bytes.Clone(disk))})
			if err := o.Delete(p); err != nil {
				t.Error(err)
			}
			switch _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); {
			case err == nil:
				swept++
			case !errors.Is(err, ErrHeld):
				t.Error(err)
			}
		}
	})
	other, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 5 {
		if err := other.HoldSweep(time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(scratch(t), "copy")
		if err := copyInOrder(dir, copied); err != nil {
			t.Error(err)
		}
		if _, err := other.ReleaseSweep(); err != nil {
			t.Fatal(err)
		}
		v, err := Open(t.Context(), copied, Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkCopy(t, v)
		v.Close()
		time.Sleep(50 * time.Millisecond) // for sweeps that remove
	}
	close(stop)
	busy.Wait()
	t.Logf("%d sweeps beside the copies", swept)
	mustCheck(t, o.Vault)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}
