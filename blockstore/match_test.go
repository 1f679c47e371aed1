package blockstore

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMatchFindsTheBlocksThatDiffer(t *testing.T) {
	t.Parallel()
	const bs = 16 << 10
	r := rand.New(rand.NewPCG(3, 4))
	disk := make([]byte, 40*bs+5000)
	for range 8 {
		fill(r, disk, 3*bs)
	}
	o := ownVault(t, newVault(t, bs), OwnOptions{})
	defer o.Close()
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(disk)})
	d, err := o.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	now := slices.Clone(disk)
	want := map[int64]bool{}
	for range 9 {
		at := r.IntN(len(now))
		now[at] ^= 1
		want[int64(at)/bs] = true
	}
	now[len(now)-1] ^= 1
	want[40] = true
	for _, step := range []int64{bs, 3 * bs, 64 * bs} {
		got := map[int64]bool{}
		for off := int64(0); off < int64(len(now)); off += step {
			err := d.Match(t.Context(), now[off:min(off+step, int64(len(now)))], off, func(at, length int64) error {
				if at%bs != 0 || length != min(bs, int64(len(now))-at) {
					t.Errorf("%d bytes at %d", length, at)
				}
				got[at/bs] = true
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for b := range int64(41) {
			a, z := b*bs, min((b+1)*bs, int64(len(now)))
			if differ := !slices.Equal(disk[a:z], now[a:z]); got[b] != differ {
				t.Errorf("in steps of %d: block %d differs: %v, Match says %v", step, b, differ, got[b])
			}
		}
	}
	for _, bad := range [][2]int64{{1, bs}, {0, 5}, {40 * bs, bs}, {-bs, bs}} {
		if err := d.Match(t.Context(), make([]byte, bad[1]), bad[0], nil); err == nil {
			t.Errorf("%d bytes at %d were compared", bad[1], bad[0])
		}
	}
}
