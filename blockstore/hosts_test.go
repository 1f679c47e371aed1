package blockstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestAnotherHostReadsAtOnceAndWritesOnlyAfterATakeOver(t *testing.T) {
	s := makeSample(t)
	there := Options{Host: another("kvm2")}
	v, err := Open(t.Context(), s.dir, there)
	if err != nil {
		t.Fatal(err)
	}
	st, err := v.Standing()
	if err != nil || !st.OtherHost || st.String() == "" {
		t.Errorf("%+v, %v", st, err)
	}
	mustCheck(t, v)
	v.Close()

	var busy *BusyError
	own := OwnOptions{Options: there, MinFree: -1, Wait: time.Hour}
	if _, err := Own(t.Context(), s.dir, own); !errors.As(err, &busy) || !busy.OtherHost {
		t.Fatalf("another host writes: %v", err)
	}
	took, err := TakeOver(t.Context(), s.dir, TakeOverOptions{Options: there})
	if err != nil || took.From.PID == 0 || took.OldID != "" {
		t.Fatalf("%+v, %v", took, err)
	}
	if _, err := Own(t.Context(), s.dir, OwnOptions{MinFree: -1}); !errors.As(err, &busy) || busy.Owner.Host != "kvm2" {
		t.Errorf("this host still writes: %v", err)
	}
	o := ownVault(t, s.dir, own)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(s.last)})
	if p.Parent == "" || p.Sizes.Stored > 100<<10 || p.Writer != took.From.Writer {
		t.Errorf("the point after the take-over stored %d bytes, has parent %q and writer %s", p.Sizes.Stored, p.Parent, p.Writer)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAnOwnerThatWasReplacedCommitsAndRemovesNothing lets two hosts have the vault,
// whose file system keeps no locks between them.
func TestAnOwnerThatWasReplacedCommitsAndRemovesNothing(t *testing.T) {
	s := makeSample(t)
	old := ownVault(t, s.dir, OwnOptions{})
	points, err := old.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Delete(points[0]); err != nil {
		t.Fatal(err)
	}
	b, err := old.Begin(t.Context(), BackupOptions{Machine: "web1", Time: time.Now(), Asked: Crash, Reached: Crash})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda", Format: "raw"}, memory(bytes.Repeat([]byte("x"), 1<<20)), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := TakeOver(t.Context(), s.dir, TakeOverOptions{}); !errors.As(err, new(*BusyError)) {
		t.Fatalf("an owner that holds the lock was replaced: %v", err)
	}
	if err := old.claim.lock.Release(); err != nil { // as if it were kept on another host alone
		t.Fatal(err)
	}
	there := Options{Host: another("kvm2")}
	if _, err := TakeOver(t.Context(), s.dir, TakeOverOptions{Options: there}); err != nil {
		t.Fatal(err)
	}
	lost := func(what string, err error) {
		t.Helper()
		var busy *BusyError
		if !errors.As(err, &busy) || !busy.Lost || busy.Owner.Host != "kvm2" {
			t.Errorf("%s after the take-over: %v", what, err)
		}
	}
	_, err = b.Commit(t.Context())
	lost("a commit", err)
	_, err = old.Sweep(t.Context(), SweepOptions{Now: true, Trash: true})
	lost("a sweep", err)
	lost("a deletion", old.Delete(points[1]))
	_, err = old.drop(points[0], true, time.Now())
	lost("a drop", err)
	old.committing.Lock()
	lost("a merge", old.merge(old.tables.Load().tables))
	old.committing.Unlock()

	v, err := Open(t.Context(), s.dir, there)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if now, err := v.Points(t.Context()); err != nil || len(now) != len(points)-1 {
		t.Errorf("%d points, want %d: %v", len(now), len(points)-1, err)
	}
	if old.index != nil {
		old.index.Close()
	}
	mustCheck(t, v)
}

func TestWhileAVaultIsHeldNothingIsRemoved(t *testing.T) {
	s := makeSample(t)
	o := ownVault(t, s.dir, OwnOptions{})
	defer o.Close()
	points, err := o.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points[1:] {
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	other, err := Open(t.Context(), s.dir, Options{}) // beside the owner
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, until := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(MaxHold + time.Hour)} {
		if err := other.HoldSweep(until); err == nil {
			t.Errorf("held until %s", until)
		}
	}
	if err := other.HoldSweep(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	all := SweepOptions{Now: true, Full: true, Trash: true}
	before := namesIn(t, s.dir)
	if _, err := o.Sweep(t.Context(), all); !errors.Is(err, ErrHeld) {
		t.Errorf("a sweep of a vault that is held: %v", err)
	}
	if _, err := o.drop(points[1], true, time.Now()); !errors.Is(err, ErrHeld) {
		t.Errorf("a drop in a vault that is held: %v", err)
	}
	for range 3 * maxPerClass { // whose segments would be merged
		backUp(t, o, "another", map[string]Source{"vda": memory(s.last[:1000])})
	}
	after := namesIn(t, s.dir)
	for name := range before {
		if !after[name] {
			t.Errorf("%s was removed", name)
		}
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{DryRun: true}); err != nil {
		t.Errorf("a dry run: %v", err)
	}
	if n, err := other.ReleaseSweep(); err != nil || n != 1 {
		t.Errorf("%d released, %v", n, err)
	}
	report, err := o.Sweep(t.Context(), all)
	if err != nil || len(report.Dropped) != len(points)-1 {
		t.Errorf("%+v, %v", report, err)
	}
	mustCheck(t, o.Vault)
}

// TestAHoldStopsASweepThatIsUnderWay makes the hold between two removals.
func TestAHoldStopsASweepThatIsUnderWay(t *testing.T) {
	s := makeSample(t)
	v, err := Open(t.Context(), s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var holder sync.WaitGroup
	defer holder.Wait()
	removed := 0
	o := ownVault(t, s.dir, OwnOptions{Event: func(e string) {
		if e != "sweep.removed" {
			return
		}
		if removed++; removed == 1 { // it waits for this removal, which sees it
			holder.Go(func() {
				if err := v.HoldSweep(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
			for h, err := v.Held(time.Now()); h == nil && err == nil; h, err = v.Held(time.Now()) {
				time.Sleep(time.Millisecond)
			}
		}
	}})
	defer o.Close()
	o.store.together = 1
	points, err := o.Points(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true}); !errors.Is(err, ErrHeld) || removed != 1 {
		t.Errorf("%d packs were removed: %v", removed, err)
	}
	mustCheck(t, o.Vault)
}

// TestAnIDThatATakeOverGaveStaysWhenVAULTIsLost: headers of packs that were
// written before go on telling the old one.
func TestAnIDThatATakeOverGaveStaysWhenVAULTIsLost(t *testing.T) {
	s := makeSample(t)
	for _, written := range []bool{false, true} {
		dir := copyVault(t, s.dir)
		took, err := TakeOver(t.Context(), dir, TakeOverOptions{NewID: true})
		if err != nil || took.OldID == "" || took.Info.ID == took.OldID {
			t.Fatalf("%+v, %v", took, err)
		}
		if written {
			o := ownVault(t, dir, OwnOptions{})
			backUp(t, o, "web1", map[string]Source{"vda": noise(40, 8)})
			mustClose(t, o)
		}
		names, err := filepath.Glob(filepath.Join(dir, vaultDir, "*"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names { // each generation alone, and in the end all
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			v, err := Open(t.Context(), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Info().ID; got != took.Info.ID {
				t.Errorf("without %s the vault has the id %s, want %s", filepath.Base(name), got, took.Info.ID)
			}
			v.Close()
		}
		mustClose(t, ownVault(t, dir, OwnOptions{}))
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Info().ID; got != took.Info.ID || v.fromPack {
			t.Errorf("VAULT was written again with the id %s, want %s", got, took.Info.ID)
		}
		v.Close()
	}
}
