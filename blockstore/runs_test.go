package blockstore

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Every byte of a disk has a kind; a block whose bytes are all of one kind has
// that kind, any other is data. Runs must say the same, whatever the extents.
func TestRunsOfBlocksSayWhatUnalignedExtentsSay(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 4))
	for range 3000 {
		const bs = 16
		size := r.IntN(400)
		kinds := make([]ExtentKind, 0, size)
		var got []ExtentKind
		runs := runs{bs: bs, size: int64(size), fn: func(first, n int64, kind ExtentKind) error {
			if first != int64(len(got)) || n < 1 {
				t.Fatalf("run of %d blocks at %d, after %d", n, first, len(got))
			}
			got = append(got, slices.Repeat([]ExtentKind{kind}, int(n))...)
			return nil
		}}
		for len(kinds) < size {
			e := Extent{Offset: int64(len(kinds)), Length: int64(min(r.IntN(1<<r.IntN(8)), size-len(kinds))), Kind: ExtentKind(r.IntN(3))}
			if r.IntN(3) == 0 { // up to a block's border
				e.Length = min(int64(bs-len(kinds)%bs), int64(size-len(kinds)))
			}
			if err := runs.add(e); err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, slices.Repeat([]ExtentKind{e.Kind}, int(e.Length))...)
		}
		if err := runs.finish(); err != nil {
			t.Fatal(err)
		}
		var want []ExtentKind
		for block := range slices.Chunk(kinds, bs) {
			kind := block[0]
			for _, k := range block {
				if k != kind {
					kind = Data
					break
				}
			}
			want = append(want, kind)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d bytes: blocks %v, want %v", size, got, want)
		}
	}
}

func TestExtentsThatCannotBeAreRefused(t *testing.T) {
	for name, extents := range map[string][]Extent{
		"a gap":            {{0, 10, Data}, {11, 10, Data}},
		"an overlap":       {{0, 10, Data}, {9, 10, Data}},
		"beyond the end":   {{0, 101, Data}},
		"negative":         {{0, -1, Data}},
		"a length of all":  {{0, 10, Data}, {10, 1<<63 - 1, Data}},
		"an unknown kind":  {{0, 100, Same + 1}},
		"nothing":          {},
		"too little":       {{0, 99, Zero}},
		"not at the start": {{1, 99, Zero}},
	} {
		r := runs{bs: 16, size: 100, fn: func(int64, int64, ExtentKind) error { return nil }}
		var err error
		for _, e := range extents {
			if err == nil {
				err = r.add(e)
			}
		}
		if err == nil {
			err = r.finish()
		}
		if err == nil || !strings.Contains(err.Error(), "source yields") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
