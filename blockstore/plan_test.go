package blockstore

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// TestAPlanForSpaceNeverGivesUpTheLastPointThatNothingHarms damages a block of a
// machine's newest point, or loses its pack: the one before is the last good one.
func TestAPlanForSpaceNeverGivesUpTheLastPointThatNothingHarms(t *testing.T) {
	for name, harm := range map[string]func(*testing.T, *Owner, *Point) *Owner{
		"nothing": func(_ *testing.T, o *Owner, _ *Point) *Owner { return o },
		"noted":   noteBlock,
		"gone":    loseBlocks,
	} {
		t.Run(name, func(t *testing.T) {
			o := ownVault(t, vaultIn(t, sampleBlock), OwnOptions{})
			var points []*Point
			for i := range 4 {
				points = append(points, backUp(t, o, "web1", map[string]Source{"vda": noise(uint64(50+i), 8)}))
			}
			if err := o.Lock(points[0], time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			last := points[3]
			o = harm(t, o, last)
			defer o.Close()
			kept := []*Point{points[0], last}
			if name != "nothing" {
				kept[1] = points[2]
			}
			plan, err := o.PlanFree(t.Context(), 1<<40)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range points {
				isKept := slices.ContainsFunc(kept, func(k *Point) bool { return k.ID == p.ID })
				planned := slices.ContainsFunc(plan.Points, func(q Planned) bool { return q.ID == p.ID })
				if planned == isKept {
					t.Errorf("point %d: to be given up: %v", p.Seq, planned)
				}
			}
		})
	}
}

// blockOf is the ID of a block that only p names.
func blockOf(t *testing.T, o *Owner, p *Point) ID {
	t.Helper()
	var id ID
	if err := o.diskMap(&p.Disks[0]).Visit(t.Context(), 3, 1, diskmap.Visitor{Blocks: func(_ int64, ids []ID) error {
		id = ids[0]
		return nil
	}}); err != nil || id.IsZero() {
		t.Fatal(id, err)
	}
	return id
}

func noteBlock(t *testing.T, o *Owner, p *Point) *Owner {
	t.Helper()
	spoil(t, o.Vault, blockOf(t, o, p))
	r, err := o.Check(t.Context(), CheckOptions{Data: true})
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := o.NoteDamage(t.Context(), r.Damaged); err != nil || n != 1 {
		t.Fatalf("%d records noted, %v", n, err)
	}
	return o
}

func loseBlocks(t *testing.T, o *Owner, p *Point) *Owner {
	t.Helper()
	var file string
	if err := o.tables.Load().find(blockOf(t, o, p), func(at place) bool {
		file = o.dir.Path(packPath(at.writer, at.pack))
		return true
	}); err != nil || file == "" {
		t.Fatal(err)
	}
	dir := o.dir.Root()
	mustClose(t, o)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	return ownVault(t, dir, OwnOptions{})
}
