package segment

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

// copyOf is where an entry leads, whatever its pack's place in a segment.
type copyOf struct {
	id             [32]byte
	pack           [16]byte
	offset, length uint32
}

func TestMergeHoldsWhatItsSegmentsHeldAndOnlyOfPacksThatAreKept(t *testing.T) {
	r := seeded(t)
	for round := range 25 {
		want := map[copyOf]bool{}
		keep := func(p [16]byte) bool { return round%3 == 0 || p[7]%4 != 1 }
		var tables []*Table
		for range r.IntN(6) {
			tables = append(tables, randomTable(t, r, func(c copyOf) {
				if keep(c.pack) {
					want[c] = true
				}
			}))
		}
		var b bytes.Buffer
		w := NewBuilder(&b, testKeys(), testName)
		packs, err := Merge(w, tables, keep)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Finish(Head{Packs: packs}, nil); err != nil {
			t.Fatal(err)
		}
		merged := mustOpen(t, b.Bytes())
		if err := merged.Verify(testKeys()); err != nil {
			t.Fatal(err)
		}
		if int(merged.Count) != len(want) {
			t.Fatalf("%d entries, want %d", merged.Count, len(want))
		}
		for i := range merged.Count {
			e, err := merged.Entry(i)
			if err != nil {
				t.Fatal(err)
			}
			c := copyOf{e.ID, merged.Packs[e.Pack].ID, e.Offset, e.Length}
			if !want[c] {
				t.Fatalf("entry %v was in no segment", c)
			}
			first, after, err := merged.Find(e.ID)
			if err != nil || i < first || i >= after {
				t.Fatalf("entry %d is found from %d to %d, %v", i, first, after, err)
			}
		}
	}
}

// randomTable is a table of a few IDs in a few packs, shared with others.
func randomTable(t *testing.T, r *rand.Rand, each func(copyOf)) *Table {
	var packs []Pack
	for n := range 10 {
		if r.IntN(3) == 0 {
			packs = append(packs, Pack{packID(n), 1 << 20, 10, 1})
		}
	}
	var entries []Entry
	if len(packs) > 0 {
		for _, id := range someIDs(r, "extremes", r.IntN(40)) {
			id[5] = byte(r.IntN(20))
			e := Entry{id, uint32(r.IntN(len(packs))), uint32(r.IntN(3) * 64), 64}
			entries = append(entries, e)
			each(copyOf{e.ID, packs[e.Pack].ID, e.Offset, e.Length})
		}
	}
	Sort(entries)
	return mustOpen(t, encode(t, slices.Clip(entries), packs, nil))
}
