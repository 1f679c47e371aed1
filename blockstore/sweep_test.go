package blockstore

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// TestForgettingFreesWhatNothingNamesAndHarmsNoOtherPoint runs random backups,
// deletions and sweeps, with backups under way, against what each point held.
func TestForgettingFreesWhatNothingNamesAndHarmsNoOtherPoint(t *testing.T) {
	forget(t, newVault(t, 16<<10), Options{})
}

func TestForgettingInASealedVaultHarmsNoOtherPoint(t *testing.T) {
	dir, identity := sealedVault(t)
	forget(t, dir, Options{Unlock: &Unlocker{Identities: []string{identity}}})
}

func forget(t *testing.T, dir string, open Options) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	o := ownVault(t, dir, OwnOptions{Options: open})
	o.store.packBytes = 1 << 20
	disk := make([]byte, 8<<20)
	fill(r, disk, len(disk))
	want := map[PointID][]byte{}
	var points []*Point
	for range 30 {
		for range 1 + r.IntN(3) {
			fill(r, disk, 200<<10)
		}
		data := bytes.Clone(disk)
		var wg sync.WaitGroup
		if r.IntN(2) == 0 { // a sweep beside the backup
			wg.Go(func() {
				if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
					t.Error(err)
				}
			})
		}
		p := backUp(t, o, "web1", map[string]Source{"vda": memory(data)})
		wg.Wait()
		want[p.ID] = data
		points = append(points, p)
		if len(points) > 3 && r.IntN(2) == 0 {
			i := r.IntN(len(points))
			if err := o.Delete(points[i]); err != nil {
				t.Fatal(err)
			}
			delete(want, points[i].ID)
			points = slices.Delete(points, i, i+1)
		}
		if r.IntN(4) == 0 {
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			o = ownVault(t, dir, OwnOptions{Options: open})
			o.store.packBytes = 1 << 20
		}
	}
	if _, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true}); err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), want[p.ID]) {
			t.Errorf("point %s differs from what was backed up", p.ID)
		}
	}
	mustCheck(t, o.Vault)
	listed, err := o.Points(t.Context())
	if err != nil || len(listed) != len(points) {
		t.Errorf("%d points are listed, want %d: %v", len(listed), len(points), err)
	}
	for _, p := range points {
		if err := o.Delete(p); err != nil {
			t.Fatal(err)
		}
	}
	rep, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true, Trash: true})
	if err != nil {
		t.Fatal(err)
	}
	if left := packBytes(t, o.Vault); left != 0 {
		t.Errorf("%d bytes of packs are left of a vault without points: %+v", left, rep)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

func packBytes(t *testing.T, v *Vault) (sum int64) {
	t.Helper()
	if err := v.eachPack(v.dir.List, func(w WriterID, id pack.ID) error {
		n, err := v.dir.Size(packPath(w, id))
		sum += n
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return sum
}
