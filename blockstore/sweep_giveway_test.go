package blockstore

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// TestWhoASweepGivesWayToFindsNoLock makes whole backups, and changes, whenever a sweep gives way: they would never
// end if it held anything that they need.
func TestWhoASweepGivesWayToFindsNoLock(t *testing.T) {
	t.Parallel()
	o := ownVault(t, vaultIn(t, 16<<10), OwnOptions{})
	defer o.Close()
	o.store.packBytes, o.walkMemory, o.store.together = crashPackBytes, 1<<10, 1
	var kept []*Point
	for i := range 12 {
		p, err := backUpSelfTold(t.Context(), o, "vm0", crashDisk(7, 0, i))
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := o.Delete(p); err != nil {
				t.Fatal(err)
			}
			continue
		}
		kept = append(kept, p)
	}
	needRoom(t, o)
	var mu sync.Mutex // several readers of pages give way at once
	gave, last := 0, kept[len(kept)-1]
	r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true, GiveWay: func(ctx context.Context) {
		mu.Lock()
		defer mu.Unlock()
		if gave++; gave%5 != 1 || gave > 100 {
			return
		}
		p, err := backUpSelfTold(ctx, o, "vm0", crashDisk(7, 0, 100+gave))
		if err == nil {
			err = errors.Join(o.Note(last, string(p.Machine)), o.Delete(p), o.Undelete(p))
		}
		if err == nil {
			_, err = o.Points(ctx)
		}
		if err != nil {
			t.Error(err)
		}
	}})
	if err != nil || r.Removed == 0 || r.Rewritten == 0 || gave < 10 {
		t.Fatalf("%+v, %v, after it gave way %d times", r, err, gave)
	}
	mustTellTheTruth(t, o.Vault)
	mustCheck(t, o.Vault)
}

// needRoom skips a test where a sweep has to hurry.
func needRoom(t *testing.T, o *Owner) {
	t.Helper()
	if (&sweep{o: o}).short() {
		t.Skip("too little is free where the test's vault lies for a sweep to give way")
	}
}

func TestASweepThatIsCancelledWhileItGivesWayEnds(t *testing.T) {
	t.Parallel()
	c, kept, deleted := forgetful(t)
	o := ownVault(t, c.dir, OwnOptions{})
	defer o.Close()
	needRoom(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := o.Sweep(ctx, SweepOptions{Now: true, Full: true, Trash: true, GiveWay: func(ctx context.Context) {
		cancel()
		<-ctx.Done()
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
		t.Error(err)
	}
	mustHaveForgotten(t, o, kept, deleted)
}
