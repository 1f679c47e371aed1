package blockstore

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestNothingIsForgottenByAClockThatIsWrong sets the clock back to 1970 and far
// ahead, while deleting, locking and sweeping.
func TestNothingIsForgottenByAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{Clock: func() time.Time { return now }})
	defer o.Close()
	p := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 0))})
	q := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 1))})
	if err := o.Delete(q); err != nil {
		t.Fatal(err)
	}
	right := now
	for _, wrong := range []time.Time{time.Unix(0, 0), right.Add(-time.Hour), right.Add(91 * 24 * time.Hour), right.AddDate(74, 0, 0)} {
		now = wrong
		for what, err := range map[string]error{
			"delete": o.Delete(p), "lock": o.Lock(p, wrong.Add(time.Hour)), "sweep": sweepErr(o, SweepOptions{}),
			"sweep now": sweepErr(o, SweepOptions{Now: true, Trash: true, Full: true}),
		} {
			if !errors.Is(err, ErrClock) {
				t.Errorf("%s at %s: %v", what, wrong, err)
			}
		}
		if err := o.Undelete(q); err != nil {
			t.Errorf("undelete at %s: %v", wrong, err)
		}
		now = right.Add(time.Second)
		if err := o.Delete(q); err != nil {
			t.Errorf("when the clock was right again after %s: %v", wrong, err)
		}
	}
	if points, err := o.Points(t.Context()); err != nil || len(points) < 1 {
		t.Errorf("%d points, %v", len(points), err)
	}
	mustCheck(t, o.Vault)
}

func sweepErr(o *Owner, opts SweepOptions) error {
	_, err := o.Sweep(context.Background(), opts)
	return err
}

// TestAPersonConfirmsTheClockOnce lets the clock be far ahead for a while, so
// that records are dated then, and then be right again.
func TestAPersonConfirmsTheClockOnce(t *testing.T) {
	t.Parallel()
	right := time.Now()
	now := right
	o := ownVault(t, vaultIn(t, 16<<10), OwnOptions{Clock: func() time.Time { return now }})
	defer o.Close()
	p := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 0))})
	q := backUp(t, o, "vm0", map[string]Source{"vda": memory(crashDisk(1, 0, 1))})
	now = right.AddDate(10, 0, 0)
	if err := o.Delete(p); !errors.Is(err, ErrClock) {
		t.Fatal(err)
	}
	if err := o.TrustClock(t.Context()); err != nil { // by mistake
		t.Fatal(err)
	}
	if err := o.Delete(p); err != nil {
		t.Fatal(err)
	}
	now = right.Add(time.Minute)
	if err := o.Delete(q); !errors.Is(err, ErrClock) {
		t.Fatalf("before the newest record: %v", err)
	}
	if err := o.TrustClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // and the next sweeps note it on
		if err := sweepErr(o, SweepOptions{}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(30 * 24 * time.Hour)
	}
	if err := o.Delete(q); err != nil {
		t.Fatal(err)
	}
	now = now.Add(15 * 24 * time.Hour)
	r, err := o.Sweep(t.Context(), SweepOptions{})
	if err != nil || len(r.Dropped) != 1 || r.Dropped[0].ID != q.ID {
		t.Errorf("dropped %v, %v", r.Dropped, err)
	}
	mustCheck(t, o.Vault)
}
