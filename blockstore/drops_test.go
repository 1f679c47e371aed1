package blockstore

import (
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// TestADroppedPointStaysDroppedWhicheverSegmentIsLost loses each segment alone,
// after drops, and after merges of what tells of them.
func TestADroppedPointStaysDroppedWhicheverSegmentIsLost(t *testing.T) {
	for name, then := range map[string]func(*testing.T, *Owner){
		"swept":    func(*testing.T, *Owner) {},
		"merged":   mergeAllButTheFirst,
		"given up": func(*testing.T, *Owner) {},
	} {
		t.Run(name, func(t *testing.T) {
			dir := vaultIn(t, sampleBlock)
			o := ownVault(t, dir, OwnOptions{})
			backUp(t, o, "web1", map[string]Source{"vda": noise(30, 8)})
			gone := backUp(t, o, "web2", map[string]Source{"vda": noise(31, 8)})
			kept := backUp(t, o, "web1", map[string]Source{"vda": noise(32, 80)})
			if name == "given up" {
				spoil(t, o.Vault, gone.Disks[0].Root)
				if err := o.GiveUp(t.Context(), gone.Machine, gone.ID); err != nil {
					t.Fatal(err)
				}
			} else if err := o.Delete(gone); err != nil {
				t.Fatal(err)
			}
			if _, err := o.Sweep(t.Context(), SweepOptions{Trash: true, Now: name != "merged"}); err != nil {
				t.Fatal(err)
			}
			then(t, o)
			mustClose(t, o)
			for file := range segmentFiles(t, dir) {
				lost := copyVault(t, dir)
				if err := os.Remove(lost + file[len(dir):]); err != nil {
					t.Fatal(err)
				}
				o := ownVault(t, lost, OwnOptions{})
				points, err := o.Points(t.Context())
				if err != nil || len(points) != 2 {
					t.Errorf("without %s: %d points, %v; want 2", file, len(points), err)
				}
				mustHold(t, o.Vault, kept, noise(32, 80))
				sweepAll(t, o)
				mustCheck(t, o.Vault)
				mustClose(t, o)
			}
		})
	}
}

// mergeAllButTheFirst merges the segments that do not tell of a commit.
func mergeAllButTheFirst(t *testing.T, o *Owner) {
	t.Helper()
	o.committing.Lock()
	defer o.committing.Unlock()
	var merge []*segment.Table
	for _, table := range o.tables.Load().tables {
		commits := 0
		if err := table.EachPoint(func(p segment.Point) error {
			if p.Event == segment.Committed {
				commits++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if commits == 0 {
			merge = append(merge, table)
		}
	}
	if len(merge) < 2 {
		t.Fatalf("%d segments to merge", len(merge))
	}
	if err := o.merge(merge); err != nil {
		t.Fatal(err)
	}
	if err := o.tellDropsTwice(); err != nil { // as mergeSegments does
		t.Fatal(err)
	}
}
