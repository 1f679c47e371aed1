package blockstore

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// childSweeps sweeps as hard as can be, and dies at an event.
func childSweeps(order childOrder) error {
	ctx := context.Background()
	var seen atomic.Int32
	o, err := Own(ctx, order.Dir, OwnOptions{MinFree: -1, Wait: 10 * time.Second, Reclaim: order.Nth%2 == 0, Event: func(name string) {
		if name == order.DieAt && seen.Add(1) == order.Nth {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	if err != nil {
		return err
	}
	o.store.packBytes = crashPackBytes
	if _, err := o.Sweep(ctx, SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
		return err
	}
	return o.Close()
}

// forgetful is a vault of five points, three of which are in the trash.
func forgetful(t *testing.T) (c *crashed, kept, deleted []*Point) {
	c = &crashed{t: t, dir: vaultIn(t, 16<<10), known: map[PointID]bool{}}
	o := ownVault(t, c.dir, OwnOptions{})
	defer o.Close()
	o.store.packBytes = crashPackBytes
	for i := range 5 {
		p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(3, 0, i))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			kept = append(kept, p)
			c.known[p.ID] = true
			continue
		}
		deleted = append(deleted, p)
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	return c, kept, deleted
}

func TestASweepKilledAtAnyMomentLosesNothingAndTheNextGoesOn(t *testing.T) {
	for _, event := range []string{"point.dropping", "point.dropped", "pack.written", "pack.sealed", "pack.indexed", "segment.writing",
		"segment.written", "sweep.copied", "sweep.forgotten", "sweep.removed", "close"} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			c, kept, deleted := forgetful(t)
			killed := false
			for nth := range int32(2) {
				out, err := childCommand(t, childOrder{Dir: c.dir, Sweep: true, DieAt: event, Nth: nth + 1}).CombinedOutput()
				if err != nil && !strings.Contains(err.Error(), "killed") {
					t.Fatalf("%v: %s", err, out)
				}
				killed = killed || err != nil
				c.survives(nil)
			}
			if !killed {
				t.Error("the child was never killed")
			}
			o := ownVault(t, c.dir, OwnOptions{})
			defer o.Close()
			if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
				t.Fatal(err)
			}
			mustHaveForgotten(t, o, kept, deleted)
		})
	}
}

// mustHaveForgotten fails the test unless points are gone without a trace, and
// nothing else is.
func mustHaveForgotten(t *testing.T, o *Owner, kept, deleted []*Point) {
	t.Helper()
	points := mustTellTheTruth(t, o.Vault)
	for _, p := range kept {
		if points[p.ID] == nil {
			t.Errorf("point %s is gone", p.ID)
		}
	}
	for _, p := range deleted {
		if points[p.ID] != nil {
			t.Errorf("point %s came back", p.ID)
		}
		for _, name := range []string{pointPath(p.Machine, p.Seq, p.ID), path.Join(attrsDir, string(p.Machine), string(p.ID))} {
			if _, err := os.Stat(o.dir.Path(name)); err == nil {
				t.Errorf("%s is left", name)
			}
		}
	}
	u, err := o.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if u.Unnamed > 0 || u.Trash > 0 || u.InTrash > 0 {
		t.Errorf("left after a sweep: %+v", u)
	}
	mustCheck(t, o.Vault)
}

func TestADroppedPointWhoseRecordComesBackStaysDropped(t *testing.T) {
	t.Parallel()
	c, kept, deleted := forgetful(t)
	p := deleted[0]
	name := filepath.Join(c.dir, pointPath(p.Machine, p.Seq, p.ID))
	record, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	o := ownVault(t, c.dir, OwnOptions{})
	defer func() { o.Close() }()
	o.store.packBytes = crashPackBytes
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxPerClass { // whose segments are merged
		if _, err := backUpSelfTold(t.Context(), o, "vm1", crashDisk(9, 1, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, record, 0o600); err != nil {
		t.Fatal(err)
	}
	points := mustTellTheTruth(t, o.Vault)
	if points[p.ID] != nil {
		t.Error("a dropped point is listed, since its record came back")
	}
	mustCheck(t, o.Vault)
	if err := o.Undelete(p); !errors.Is(err, ErrNotFound) {
		t.Errorf("it can be undeleted: %v", err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true}); err != nil {
		t.Fatal(err)
	}
	mustHaveForgotten(t, o, kept, deleted)
}

func TestASweepPutsBackMissingPointsOrRemovesNothing(t *testing.T) {
	for how, harm := range map[string]func(t *testing.T, dir string){
		"missing": func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, pointsDir)) },
		"empty": func(t *testing.T, dir string) {
			os.RemoveAll(filepath.Join(dir, pointsDir))
			os.Mkdir(filepath.Join(dir, pointsDir), 0o700)
		},
		"a file": func(t *testing.T, dir string) {
			os.RemoveAll(filepath.Join(dir, pointsDir))
			os.WriteFile(filepath.Join(dir, pointsDir), nil, 0o600)
		},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c, kept, _ := forgetful(t)
			o := ownVault(t, c.dir, OwnOptions{})
			defer o.Close()
			before := packBytes(t, o.Vault)
			sound, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, DryRun: true})
			if err != nil {
				t.Fatal(err)
			}
			harm(t, c.dir)
			dry, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, DryRun: true})
			if err == nil && dry.Freed != sound.Freed {
				t.Errorf("a dry run would free %d bytes, and %d before", dry.Freed, sound.Freed)
			}
			_, err = o.Sweep(t.Context(), SweepOptions{Now: true, Full: true})
			if how == "a file" {
				if err == nil {
					t.Error("it swept")
				}
				if after := packBytes(t, o.Vault); after != before {
					t.Errorf("%d bytes of packs became %d", before, after)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			points := mustTellTheTruth(t, o.Vault)
			for _, p := range kept {
				if points[p.ID] == nil {
					t.Errorf("point %s is gone", p.ID)
				}
			}
			mustCheck(t, o.Vault)
		})
	}
}

func TestALockAndADropAtTheSameTimeAgree(t *testing.T) { raceWithDrop(t, Locked) }

func TestAnUndeletionAndADropAtTheSameTimeAgree(t *testing.T) { raceWithDrop(t, Undeleted) }

// raceWithDrop lets what saves a point race with a sweep that drops it: when it
// was told that it succeeded, the point is there and whole.
func raceWithDrop(t *testing.T, kind AttributeKind) {
	t.Parallel()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	for i := range 8 {
		p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(uint64(i), 0, i))
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var saved, swept error
		wg.Go(func() { _, swept = o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true}) })
		wg.Go(func() {
			if i%2 == 0 {
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			}
			if kind == Locked {
				saved = o.Lock(p, time.Now().Add(time.Hour))
			} else {
				saved = o.Undelete(p)
			}
		})
		wg.Wait()
		if swept != nil {
			t.Fatal(swept)
		}
		_, err = os.Stat(filepath.Join(dir, pointPath(p.Machine, p.Seq, p.ID)))
		if (saved == nil) != (err == nil) || saved != nil && !errors.Is(saved, ErrNotFound) {
			t.Errorf("it was saved: %v; its record: %v", saved, err)
		}
		if saved == nil && !bytes.Equal(readDisk(t, o.Vault, p, "vda"), crashDisk(uint64(i), 0, i)) {
			t.Error("it was saved, and is not what was backed up")
		}
	}
	mustCheck(t, o.Vault)
}

func TestAPointWithALostAttributeIsNotDropped(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 0))})
	if err := errors.Join(o.Lock(p, time.Now().Add(time.Hour)), o.Delete(p)); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, attrsDir, string(p.Machine), string(p.ID))
	names, err := os.ReadDir(folder)
	if err != nil || len(names) != 2 {
		t.Fatal(names, err)
	}
	if err := os.Remove(filepath.Join(folder, names[0].Name())); err != nil { // the lock
		t.Fatal(err)
	}
	r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true})
	if err != nil || len(r.Dropped) > 0 {
		t.Errorf("dropped %v, %v", r.Dropped, err)
	}
}

// TestAPointThatIsDroppedWhileItIsListedIsNeverListedAsOneThatStays has a point of the trash dropped between the
// looks at records and at attributes, whichever comes first.
func TestAPointThatIsDroppedWhileItIsListedIsNeverListedAsOneThatStays(t *testing.T) {
	t.Parallel()
	o := ownVault(t, vaultIn(t, 16<<10), OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 0))})
	if err := o.Delete(p); err != nil {
		t.Fatal(err)
	}
	first, gone := "", false
	listed, _, err := o.pointsAndTrash(t.Context(), func(folder string) ([]string, error) {
		kind, _, _ := strings.Cut(folder, "/")
		if first = cmp.Or(first, kind); kind != first && !gone {
			if gone, _ = o.drop(p, true, time.Now()); !gone {
				t.Error("it was not dropped")
			}
		}
		return o.dir.Glance(folder)
	})
	if err != nil || !gone || len(listed) > 0 {
		t.Errorf("dropped: %v; listed: %v, %v", gone, listed, err)
	}
}

// drop is dropAll of one point, and tells whether it is gone.
func (o *Owner) drop(p *Point, early bool, now time.Time) (bool, error) {
	gone, err := o.dropGroup([]*Point{p}, func(*Point) bool { return early }, now)
	return len(gone) > 0, err
}
