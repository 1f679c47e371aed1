package segment

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// TestManyIDsAreFoundAsEachByItself looks subsets of any density up, some of
// which are not there and some twice.
func TestManyIDsAreFoundAsEachByItself(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, count := range []int{0, 1, 2, 100, 5000} {
		var entries []Entry
		for i := range count {
			var id content.ID
			for j := range id {
				id[j] = byte(r.Uint32())
			}
			if i%7 == 0 {
				id = content.ID{31: byte(i/7) + 1} // close together
			}
			for pack := range uint32(1 + i%13/12) {
				entries = append(entries, Entry{id, pack, uint32(i) + 100, 60})
			}
		}
		Sort(entries)
		var file bytes.Buffer
		keys := content.Derive(content.Secret{1})
		b := NewBuilder(&file, keys, "s")
		for _, e := range entries {
			if err := b.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Finish(Head{Packs: []Pack{{ID: [16]byte{1}, Size: 1 << 20}, {ID: [16]byte{2}, Size: 1 << 20}}}, nil); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "s")
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(path, "s", keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, share := range []float64{0, .001, .1, 1} {
			compareFinds(t, r, table, entries, share)
		}
	}
}

func compareFinds(t *testing.T, r *rand.Rand, table *Table, entries []Entry, share float64) {
	t.Helper()
	ids := []content.ID{{}, {0: 0xff, 1: 0xff, 31: 0xff}}
	for _, e := range entries {
		if r.Float64() < share {
			ids = append(ids, e.ID)
		}
		if r.Float64() < share {
			id := e.ID
			id[r.IntN(32)] ^= 4
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b content.ID) int { return bytes.Compare(a[:], b[:]) })
	ids = slices.Compact(ids)
	var want, got []int64
	for _, id := range ids {
		first, after, err := table.Find(id)
		if err != nil {
			t.Fatal(err)
		}
		for ; first < after; first++ {
			want = append(want, first)
		}
	}
	err := table.FindEach(ids, func(i int, at int64, e Entry) error {
		if f, _ := table.Entry(at); f != e || ids[i] != e.ID {
			t.Errorf("entry %d of %s is %v", at, ids[i].Short(), e)
		}
		got = append(got, at)
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("of %d entries and %d IDs: %d found, want %d, %v", len(entries), len(ids), len(got), len(want), err)
	}
}
