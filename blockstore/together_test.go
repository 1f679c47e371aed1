package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// crowd is a vault of some points in the trash and some that stay, which share
// some of their content, in many small packs and with an owner that drops and removes few
// things together.
type crowd struct {
	dir   string
	disks map[PointID]memory
	kept  []PointID
	trash []PointID
}

func newCrowd(t *testing.T) (*crowd, *Point) {
	t.Helper()
	c := &crowd{dir: vaultIn(t, sampleBlock), disks: map[PointID]memory{}}
	o := ownVault(t, c.dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	var first *Point
	for i := range uint64(9) {
		disk := append(noise(40, 8), noise(41+i, 24)...)
		p := backUp(t, o, "web1", map[string]Source{"vda": disk})
		c.disks[p.ID] = disk
		if i%4 == 3 {
			c.kept = append(c.kept, p.ID)
			continue
		}
		if c.trash = append(c.trash, p.ID); first == nil {
			first = p
		}
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, o)
	return c, first
}

func (c *crowd) own(t *testing.T, dir string, event func(string)) *Owner {
	o := ownVault(t, dir, OwnOptions{Event: event})
	o.store.packBytes, o.store.together, o.dropTogether = crashPackBytes, 2, 3
	return o
}

// holds compares a vault with what it held, of which points of the trash may be
// gone, and returns those that are not.
func (c *crowd) holds(t *testing.T, v *Vault) (trash []PointID) {
	t.Helper()
	points, err := v.Points(t.Context())
	if err != nil || len(points) != len(c.kept) {
		t.Errorf("%d points, want %d: %v", len(points), len(c.kept), err)
	}
	deleted, err := v.Trash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Concat(points, deleted) {
		mustHold(t, v, p, c.disks[p.ID])
	}
	for _, p := range deleted {
		trash = append(trash, p.ID)
	}
	return trash
}

// TestAKillBetweenGroupsOfDropsAndRemovalsLosesNothingAndBringsNothingBack looks at
// the vault as it is at each named moment of a sweep.
func TestAKillBetweenGroupsOfDropsAndRemovalsLosesNothingAndBringsNothingBack(t *testing.T) {
	c, _ := newCrowd(t)
	type moment struct {
		name, dir string
		trash     int
	}
	var moments []moment
	events := []string{"segment.written", "point.dropping", "point.dropped", "sweep.forgotten", "sweep.removed", "sweep.copied", "segments.merged"}
	seen := map[string]int{}
	var o *Owner
	o = c.own(t, c.dir, func(name string) {
		if o == nil || !slices.Contains(events, name) {
			return
		}
		if seen[name]++; seen[name] > 3 {
			return
		}
		left, err := o.Trash(t.Context())
		if err != nil {
			t.Error(err)
		}
		moments = append(moments, moment{name, copyVault(t, c.dir), len(left)})
	})
	if report := sweepAll(t, o); len(report.Dropped) != len(c.trash) || report.Removed < 5 {
		t.Fatalf("%+v", report)
	}
	mustClose(t, o)
	for _, event := range events[1:6] {
		if seen[event] < 2 && event != "sweep.copied" {
			t.Errorf("%s came %d times", event, seen[event])
		}
	}
	for i, m := range moments {
		if m.name == "point.dropping" { // one of several records went
			if records, err := filepath.Glob(filepath.Join(m.dir, pointsDir, "*", "*"+string(c.trash[0]))); err == nil && len(records) == 1 {
				os.Remove(records[0])
			}
		}
		o := c.own(t, m.dir, nil)
		left := c.holds(t, o.Vault)
		if len(left) > m.trash {
			t.Errorf("%s (%d): %d points are in the trash, %d were", m.name, i, len(left), m.trash)
		}
		backUp(t, c.again(t, &o, m.dir), "web9", map[string]Source{"vda": c.disks[c.trash[1]]})
		sweepAll(t, o)
		mustCheck(t, o.Vault)
		if attrs, _ := filepath.Glob(filepath.Join(m.dir, attrsDir, "*", "p*")); len(attrs) > 0 {
			t.Errorf("%s (%d): attributes of points that are gone: %v", m.name, i, attrs)
		}
		mustClose(t, o)
	}
}

// again closes an owner and comes again, with what it wrote to be believed.
func (c *crowd) again(t *testing.T, o **Owner, dir string) *Owner {
	mustClose(t, *o)
	*o = c.own(t, dir, nil)
	return *o
}

// TestAHoldBetweenTwoGroupsOfDropsKeepsTheRest comes while the first group is
// dropped. What was not dropped can be used as before.
func TestAHoldBetweenTwoGroupsOfDropsKeepsTheRest(t *testing.T) {
	c, _ := newCrowd(t)
	var holder sync.WaitGroup
	var once sync.Once
	var o *Owner
	o = c.own(t, c.dir, func(name string) {
		if name != "point.dropped" {
			return
		}
		once.Do(func() {
			holder.Go(func() {
				if err := o.HoldSweep(time.Now().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
			for h, err := o.Held(time.Now()); h == nil && err == nil; h, err = o.Held(time.Now()) {
				time.Sleep(time.Millisecond)
			}
		})
	})
	defer func() { mustClose(t, o) }()
	report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Trash: true})
	holder.Wait()
	if !errors.Is(err, ErrHeld) || len(report.Dropped) != 3 || report.Removed != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	left := c.holds(t, o.Vault)
	if len(left) != len(c.trash)-3 {
		t.Errorf("%d points are left in the trash", len(left))
	}
	trash, err := o.Trash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newest := trash[len(trash)-1]
	if err := o.Undelete(newest); err != nil {
		t.Fatal(err)
	}
	p := backUp(t, o, "web1", map[string]Source{"vda": c.disks[newest.ID]})
	if points, err := o.Points(t.Context()); err != nil || p.Parent != points[len(points)-2].ID {
		t.Errorf("its parent is %s, %v", p.Parent, err)
	}
	if n, err := o.ReleaseSweep(); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if report := sweepAll(t, o); len(report.Dropped) != len(left)-1 {
		t.Errorf("%+v", report)
	}
	mustHold(t, o.Vault, newest, c.disks[newest.ID])
	mustCheck(t, o.Vault)
}

// A segment tells which packs are about to go. One that stayed all the same, since
// the process ended just then, may be used by backups again; if it is lost after that,
// the next backup finds out as it does for any other.
func TestAPackThatOutlivedItsRemovalIsMissedWhenItIsLostLater(t *testing.T) {
	dir, disk := forgotten(t)
	var killed string
	var o *Owner
	o = ownVault(t, dir, OwnOptions{Event: func(name string) {
		if name == "sweep.forgotten" && killed == "" {
			killed = copyVault(t, dir)
		}
	}})
	sweepAll(t, o)
	mustClose(t, o)
	if killed == "" {
		t.Fatal("no pack was removed")
	}
	o = ownVault(t, killed, OwnOptions{})
	told, err := o.removedBySweep()
	if err != nil {
		t.Fatal(err)
	}
	p := backUp(t, o, "web2", map[string]Source{"vda": disk})
	mustHold(t, o.Vault, p, disk)
	mustClose(t, o)
	for name := range told {
		if err := os.Remove(filepath.Join(killed, name)); err != nil {
			t.Fatal(err)
		}
	}
	if r := checkData(t, killed, true); !r.Harmed() {
		t.Fatal("the backup used no pack that was to go")
	}
	o = ownVault(t, killed, OwnOptions{})
	p = backUp(t, o, "web2", map[string]Source{"vda": disk})
	mustHold(t, o.Vault, p, disk)
	mustClose(t, o)
}

func packFileNames(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, packsDir, "*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestASweepThatMeetsADamagedOrMissingPageRemovesNothing damages each kind of page
// of a point, listed or in the trash, while the walk has memory for a few IDs.
func TestASweepThatMeetsADamagedOrMissingPageRemovesNothing(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	disk := noise(60, 200) // pages at two levels
	backUp(t, o, "web1", map[string]Source{"vda": noise(61, 100)})
	dead := backUp(t, o, "web2", map[string]Source{"vda": noise(62, 100)})
	p := backUp(t, o, "web3", map[string]Source{"vda": disk})
	if err := o.Delete(dead); err != nil {
		t.Fatal(err)
	}
	m := o.diskMap(&p.Disks[0])
	leaf, err := m.Node(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, o)
	for what, id := range map[string]ID{"root": p.Disks[0].Root, "leaf": leaf} {
		for _, way := range []string{"damaged", "missing", "in the trash"} {
			copied := copyVault(t, dir)
			o := ownVault(t, copied, OwnOptions{})
			o.walkMemory = 1 << 10
			if way == "in the trash" {
				if err := o.Lock(p, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
				if err := o.Delete(p); err != nil {
					t.Fatal(err)
				}
			}
			if way == "missing" {
				removePackOf(t, o.Vault, id)
			} else {
				spoil(t, o.Vault, id)
			}
			before := packFileNames(t, copied)
			_, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
			var harmed *HarmedError
			if !errors.As(err, &harmed) || len(harmed.Points) != 1 || harmed.Points[0].ID != p.ID {
				if way != "missing" || !errors.As(err, &harmed) || !slices.ContainsFunc(harmed.Points, func(q *Point) bool { return q.ID == p.ID }) {
					t.Errorf("%s, %s: %v", what, way, err)
				}
			}
			if after := packFileNames(t, copied); !slices.Equal(before, after) {
				t.Errorf("%s, %s: %d packs, then %d", what, way, len(before), len(after))
			}
			mustClose(t, o)
		}
	}
}

// removePackOf removes the pack that holds a record.
func removePackOf(t *testing.T, v *Vault, id ID) {
	t.Helper()
	err := v.tables.Load().find(id, func(p place) bool {
		if err := os.Remove(v.dir.Path(packPath(p.writer, p.pack))); err != nil {
			t.Fatal(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}
