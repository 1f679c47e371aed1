package blockstore

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Each test here is an order of events that once could have lost something, or
// brought back what was gone.

// noise is a disk of so many blocks that nothing compresses.
func noise(seed uint64, blocks int) memory {
	r := rand.New(rand.NewPCG(seed, 7))
	disk := make(memory, blocks*sampleBlock)
	for i := range disk {
		disk[i] = byte(r.Uint32())
	}
	return disk
}

// segmentFiles returns the segments of a vault, by path.
func segmentFiles(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	names, err := filepath.Glob(filepath.Join(dir, segmentsDir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func sweepAll(t *testing.T, o *Owner) *SweepReport {
	t.Helper()
	report, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// The segments that a merge replaces go one by one. If the one that tells of a
// drop goes first, what tells of the commit stays, and the point would be put back.
func TestADropIsRememberedWhenAMergeEndsBetweenTheSegmentsThatItReplaces(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	kept := backUp(t, o, "web1", map[string]Source{"vda": noise(1, 8)})
	gone := backUp(t, o, "web1", map[string]Source{"vda": noise(2, 8)})
	before := segmentFiles(t, dir)
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Trash: true}); err != nil { // its packs stay for a week
		t.Fatal(err)
	}
	o.committing.Lock()
	err := o.merge(o.tables.Load().tables)
	o.committing.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range before { // as if they had not been removed yet
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	points, err := o.Points(t.Context())
	if err != nil || len(points) != 1 || points[0].ID != kept.ID {
		t.Errorf("%d points are listed, %v; want the one that was not dropped", len(points), err)
	}
	mustCheck(t, o.Vault)
	sweepAll(t, o)
	if !bytes.Equal(readDisk(t, o.Vault, kept, "vda"), noise(1, 8)) {
		t.Error("the point that was kept differs")
	}
}

// ownerThat is an owner that does something once, at a moment of its work.
func ownerThat(t *testing.T, dir, event string, do func(*Owner)) *Owner {
	t.Helper()
	var o *Owner
	done := false
	o = ownVault(t, dir, OwnOptions{Event: func(name string) {
		if name == event && !done && o != nil {
			done = true
			do(o)
		}
	}})
	t.Cleanup(func() {
		if !done {
			t.Errorf("%s never came", event)
		}
	})
	return o
}

// forgotten is a vault that holds the packs of a point that was dropped, and
// another point.
func forgotten(t *testing.T) (dir string, disk memory) {
	t.Helper()
	dir, disk = vaultIn(t, sampleBlock), noise(3, 20)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": noise(4, 8)})
	gone := backUp(t, o, "web2", map[string]Source{"vda": disk})
	if err := o.Delete(gone); err != nil {
		t.Fatal(err)
	}
	report, err := o.Sweep(t.Context(), SweepOptions{Trash: true})
	if err != nil || len(report.Dropped) != 1 || report.Young == 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, disk
}

func mustHold(t *testing.T, v *Vault, p *Point, disk memory) {
	t.Helper()
	if !bytes.Equal(readDisk(t, v, p, "vda"), disk) {
		t.Errorf("point %s differs from what was backed up", p.ID)
	}
}
