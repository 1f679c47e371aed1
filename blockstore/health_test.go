package blockstore

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// TestHealthTellsWhatIsThere compares it with what the vault's other parts say.
func TestHealthTellsWhatIsThere(t *testing.T) {
	t.Parallel()
	dir := vaultIn(t, 16<<10)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	disk := crashDisk(1, 0, 0)
	p := backUp(t, o, "vm0", map[string]Source{"vda": memory(disk)})
	backUp(t, o, "vm1", map[string]Source{"vda": memory(disk)})
	now := time.Now()
	h, err := o.Health(t.Context(), now)
	if err != nil || h.Clock != nil || h.Damaged != 0 || !h.Swept.IsZero() {
		t.Fatalf("%+v, %v", h, err)
	}
	var stored int64
	names, _ := filepath.Glob(filepath.Join(dir, packsDir, "*", "*", "*"))
	for _, name := range names {
		rel, _ := filepath.Rel(dir, name)
		n, err := o.dir.Size(rel)
		if err != nil {
			t.Fatal(err)
		}
		stored += n
	}
	if h.Packs != len(names) || h.Stored != stored || h.Unique != p.Sizes.Changed || h.Free <= 0 || h.Size < h.Free || h.Floor != 0 {
		t.Errorf("%+v, %d packs of %d bytes, %d of blocks", h, len(names), stored, p.Sizes.Changed)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []time.Time{now.Add(-24 * time.Hour), now.AddDate(1, 0, 0)} {
		if h, err := o.Health(t.Context(), wrong); err != nil || !errors.Is(h.Clock, ErrClock) || h.Swept.IsZero() {
			t.Errorf("at %s: %+v, %v", wrong, h, err)
		}
	}
}

// TestStatesOfManyPointsAreThoseOfEach deletes, locks and notes some.
func TestStatesOfManyPointsAreThoseOfEach(t *testing.T) {
	t.Parallel()
	o := ownVault(t, vaultIn(t, 16<<10), OwnOptions{})
	defer o.Close()
	var points []*Point
	for i := range 5 {
		points = append(points, backUp(t, o, []string{"vm0", "vm1"}[i%2], map[string]Source{"vda": memory(crashDisk(1, 0, i))}))
	}
	err := errors.Join(o.Delete(points[1]), o.Undelete(points[1]), o.Delete(points[2]), o.Lock(points[3], time.Now().Add(time.Hour)), o.Note(points[3], "before the update"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	r.ReadSince = time.Now().Add(time.Hour)
	if n, err := o.NoteVerified(t.Context(), r); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	points = append(points, &Point{ID: newPointID(), Machine: points[0].Machine}, &Point{ID: points[3].ID, Machine: points[0].Machine})
	states, err := o.States(points)
	if err != nil || len(states) != len(points) {
		t.Fatal(len(states), err)
	}
	for i, p := range points {
		if want, err := o.State(p); err != nil || !reflect.DeepEqual(states[i], want) {
			t.Errorf("%d: %+v, %+v, %v", i, states[i], want, err)
		}
	}
	if states[2].Deleted.IsZero() || states[3].Note == "" || states[0].Verified.IsZero() {
		t.Errorf("%+v", states)
	}
}
