package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const testName = "segments/0102030405060708/00000001-0a0b0c0d"

func testKeys() *content.Keys {
	var s content.Secret
	for i := range s {
		s[i] = byte(i)
	}
	return content.Derive(s)
}

func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 2))
}

// packID grows with n.
func packID(n int) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func somePacks(n int) []Pack {
	packs := make([]Pack, n)
	for i := range packs {
		packs[i] = Pack{packID(i), 1 << 30, 100, 1}
	}
	return packs
}

// encode returns a segment of sorted entries.
func encode(t testing.TB, entries []Entry, packs []Pack, points []Point) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewBuilder(&b, testKeys(), testName)
	for _, e := range entries {
		if err := w.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	head := Head{Writer: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 1, Created: time.Unix(1793000000, 5).UTC(), Packs: packs}
	if err := w.Finish(head, points); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// open writes a segment to a file and opens it.
func open(t testing.TB, b []byte) (*Table, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return Open(file, testName, testKeys())
}

func mustOpen(t testing.TB, b []byte) *Table {
	t.Helper()
	table, err := open(t, b)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func goldenSegment(t testing.TB) []byte {
	entries := []Entry{
		{content.ID{0x11, 31: 1}, 0, 100, 156},
		{content.ID{0x80, 31: 2}, 0, 256, 64},
		{content.ID{0x80, 31: 2}, 1, 100, 64},
		{content.ID{0xfe, 31: 3}, 1, 200, 4096},
	}
	return encode(t, entries, []Pack{{packID(1), 5000, 2, 1}, {packID(2), 6000, 2, 2}}, []Point{
		{Committed, "points/1111111111111111/00000001-p2222222222222222", []byte("the record\n")},
		{Dropped, "points/1111111111111111/00000000-p3333333333333333", nil},
	})
}

func TestSegmentsAreEncodedAsEver(t *testing.T) {
	const golden = "testdata/segment.golden"
	b := goldenSegment(t)
	if *update {
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("encoded as\n%x, want\n%x", b, want)
	}
	table := mustOpen(t, want)
	if err := table.Verify(testKeys()); err != nil {
		t.Error(err)
	}
	if table.Count != 4 || table.Seq != 1 || !table.Created.Equal(time.Unix(1793000000, 5)) || len(table.Packs) != 2 ||
		table.Packs[1] != (Pack{packID(2), 6000, 2, 2}) || table.Writer != [8]byte{1, 2, 3, 4, 5, 6, 7, 8} {
		t.Errorf("opened as %+v", table)
	}
	first, after, err := table.Find(content.ID{0x80, 31: 2})
	if first != 1 || after != 3 || err != nil {
		t.Errorf("found at %d to %d, %v", first, after, err)
	}
	var points []string
	err = table.EachPoint(func(p Point) error {
		points = append(points, fmt.Sprintf("%d %s %s", p.Event, p.Path, p.Record))
		return nil
	})
	if err != nil || len(points) != 2 || points[0] != "1 points/1111111111111111/00000001-p2222222222222222 the record\n" {
		t.Errorf("points %q, %v", points, err)
	}
}

// remac makes the MACs of a changed segment right again, as one who knows the
// keys could.
func remac(b []byte) []byte {
	keys := testKeys()
	t := b[len(b)-trailerSize:]
	entries := b[headerSize : headerSize+int(le.Uint64(t[24:]))*EntrySize]
	mac := keys.MAC(testName, entries)
	copy(t[64:], mac[:])
	mac = keys.MAC(testName, b[headerSize+len(entries):len(b)-trailerSize], t[:96])
	copy(t[96:], mac[:])
	return b
}

func TestASegmentThatCannotBeIsRefused(t *testing.T) {
	good := goldenSegment(t)
	trailer := len(good) - trailerSize
	packs := headerSize + 4*EntrySize
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		err    error
		says   string
	}{
		"empty":                 {func(b []byte) []byte { return nil }, ErrDamaged, "too few"},
		"cut short":             {func(b []byte) []byte { return b[:len(b)-1] }, ErrDamaged, "begin and end"},
		"another magic":         {func(b []byte) []byte { b[0]++; return b }, ErrDamaged, "begin and end"},
		"a later version":       {func(b []byte) []byte { b[8], b[trailer+48] = 2, 2; return b }, ErrVersion, "version 2"},
		"two versions":          {func(b []byte) []byte { b[trailer+48] = 7; return b }, ErrDamaged, "begins as version 1"},
		"reserved bytes used":   {func(b []byte) []byte { b[15] = 1; return b }, ErrDamaged, "reserved"},
		"a reserved end":        {func(b []byte) []byte { b[trailer+130] = 1; return b }, ErrDamaged, "reserved"},
		"too many entries":      {func(b []byte) []byte { b[trailer+31] = 0xff; return b }, ErrDamaged, "add up"},
		"too wide a fan":        {func(b []byte) []byte { b[trailer+36] = 40; return b }, ErrDamaged, "add up"},
		"an altered pack":       {func(b []byte) []byte { b[packs]++; return b }, ErrDamaged, "MAC"},
		"packs in disorder":     {func(b []byte) []byte { b[packs] = 0xff; return remac(b) }, ErrDamaged, "out of order"},
		"an unknown event":      {func(b []byte) []byte { b[packs+2*packSize] = 9; return remac(b) }, ErrDamaged, "points"},
		"a point without end":   {func(b []byte) []byte { b[packs+2*packSize+7] = 0xff; return remac(b) }, ErrDamaged, "points"},
		"another segment's end": {func(b []byte) []byte { b[trailer+8]++; return b }, ErrDamaged, "MAC"},
	} {
		_, err := open(t, c.change(bytes.Clone(good)))
		if !errors.Is(err, c.err) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, testName+"x", testKeys()); !errors.Is(err, ErrDamaged) {
		t.Errorf("under another name: %v", err)
	}
}

func TestNoFlippedBitOfASegmentGoesUnnoticed(t *testing.T) {
	good := goldenSegment(t)
	file := filepath.Join(t.TempDir(), "s")
	for at := range good {
		b := bytes.Clone(good)
		b[at] ^= 1 << (at % 8)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Open(file, testName, testKeys())
		if err == nil {
			err = table.Verify(testKeys())
		}
		if err == nil {
			t.Errorf("byte %d: unnoticed", at)
		}
	}
}

// someIDs makes IDs that interpolation likes, and some that it does not.
func someIDs(r *rand.Rand, shape string, n int) []content.ID {
	ids := make([]content.ID, n)
	for i := range ids {
		id := &ids[i]
		for j := range id {
			id[j] = byte(r.Uint32())
		}
		switch shape {
		case "clustered": // a few dense places
			copy(id[:6], []byte{byte(r.IntN(3)), 0, 0, 0, 0, 0})
		case "one prefix": // all but the last bytes equal
			*id = content.ID{0: 0xab, 29: byte(r.IntN(4)), 30: byte(r.Uint32()), 31: byte(r.Uint32())}
		case "skewed": // exponentially near to zero
			binary.BigEndian.PutUint64(id[:], r.Uint64()>>r.IntN(64))
		case "extremes":
			*id = content.ID{31: byte(r.IntN(3))}
			if r.IntN(2) == 0 {
				for j := range 31 {
					id[j] = 0xff
				}
			}
		}
	}
	return ids
}

func TestFindAgreesWithAMapWhateverTheIDsLookLike(t *testing.T) {
	r := seeded(t)
	for _, shape := range []string{"even", "clustered", "one prefix", "skewed", "extremes"} {
		for _, n := range []int{0, 1, 2, 3, 15, 16, 17, 1000, 40_000} {
			t.Run(fmt.Sprintf("%s %d", shape, n), func(t *testing.T) { findAll(t, r, someIDs(r, shape, n)) })
		}
	}
}

func findAll(t *testing.T, r *rand.Rand, ids []content.ID) {
	t.Helper()
	want := map[content.ID]int{}
	seen := map[Entry]bool{}
	var entries []Entry
	for _, id := range ids {
		e := Entry{id, uint32(r.IntN(3)), uint32(r.IntN(4)) * 100, 90}
		if !seen[e] {
			seen[e] = true
			want[id]++
		}
		entries = append(entries, e)
		if r.IntN(10) == 0 {
			entries = append(entries, e) // the builder writes it once
		}
	}
	Sort(entries)
	table := mustOpen(t, encode(t, entries, somePacks(3), nil))
	if int(table.Count) != len(seen) {
		t.Fatalf("%d entries, want %d", table.Count, len(seen))
	}
	if err := table.Verify(testKeys()); err != nil {
		t.Fatal(err)
	}
	for id, n := range want {
		find(t, table, id, n)
		near := id
		near[31] ^= 1
		find(t, table, near, want[near])
	}
	for _, id := range append(someIDs(r, "even", 100), content.ID{}, content.ID(bytes.Repeat([]byte{0xff}, 32))) {
		find(t, table, id, want[id])
	}
}

func find(t *testing.T, table *Table, id content.ID, want int) {
	t.Helper()
	first, after, err := table.Find(id)
	if err != nil || int(after-first) != want {
		t.Fatalf("%s: %d to %d, %v; want %d of them", id, first, after, err, want)
	}
	for i := first; i < after; i++ {
		if e, err := table.Entry(i); err != nil || e.ID != id {
			t.Fatalf("%s: entry %d is %v, %v", id, i, e, err)
		}
	}
}

func TestASegmentWhoseEntriesAreInDisorderEndsEveryLookUpAndFailsVerify(t *testing.T) {
	r := seeded(t)
	for range 20 {
		n := 1 + r.IntN(3000)
		ids := someIDs(r, []string{"even", "clustered", "skewed", "extremes"}[r.IntN(4)], n)
		entries := make([]Entry, n)
		for i, id := range ids {
			entries[i] = Entry{id, 0, uint32(i), 90}
		}
		Sort(entries)
		b := encode(t, entries, somePacks(1), nil)
		body := b[headerSize : headerSize+n*EntrySize]
		r.Shuffle(n, func(i, j int) {
			x, y := body[i*EntrySize:(i+1)*EntrySize], body[j*EntrySize:(j+1)*EntrySize]
			for k := range x {
				x[k], y[k] = y[k], x[k]
			}
		})
		fan := b[headerSize+n*EntrySize+packSize : len(b)-trailerSize]
		for i := range fan {
			if r.IntN(4) == 0 {
				fan[i] = byte(r.Uint32())
			}
		}
		table := mustOpen(t, remac(b))
		for _, id := range ids {
			first, after, err := table.Find(id)
			if err != nil || first < 0 || first > after || after > table.Count {
				t.Fatalf("found from %d to %d of %d, %v", first, after, table.Count, err)
			}
		}
		sorted := true
		for i := int64(1); i < table.Count; i++ {
			sorted = sorted && compareIDs((*content.ID)(table.id(i-1)), (*content.ID)(table.id(i))) <= 0
		}
		if err := table.Verify(testKeys()); (err == nil) != sorted {
			t.Errorf("sorted is %v, verify says %v", sorted, err)
		}
	}
}

func TestASegmentCutShortWhileItIsMappedIsAnErrorAndNoCrash(t *testing.T) {
	var entries []Entry
	for i := range 10_000 {
		var id content.ID
		binary.BigEndian.PutUint64(id[:], uint64(i)<<48)
		entries = append(entries, Entry{id, 0, 0, 90})
	}
	file := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(file, encode(t, entries, somePacks(1), []Point{{Committed, "p", []byte("r")}}), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := Open(file, testName, testKeys())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 8192); err != nil {
		t.Fatal(err)
	}
	if _, _, err := table.Find(entries[9000].ID); !errors.Is(err, ErrDamaged) {
		t.Errorf("find: %v", err)
	}
	if _, err := table.Entry(9000); !errors.Is(err, ErrDamaged) {
		t.Errorf("entry: %v", err)
	}
	if err := table.Verify(testKeys()); !errors.Is(err, ErrDamaged) {
		t.Errorf("verify: %v", err)
	}
	if err := table.EachPoint(func(Point) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("points: %v", err)
	}
}

func TestAnEntryThatNamesNoPackOrReachesOverOneIsAnError(t *testing.T) {
	packs := []Pack{{packID(1), 1000, 1, 1}, {packID(2), 5 << 20, 1, 1}}
	for name, e := range map[string]Entry{
		"no such pack":         {content.ID{1}, 2, 0, 90},
		"over the pack's end":  {content.ID{1}, 0, 950, 90},
		"longer than a record": {content.ID{1}, 1, 0, 2 << 20},
		"over all numbers":     {content.ID{1}, 1, 0xffffffff, 0xffffffff},
	} {
		table := mustOpen(t, encode(t, []Entry{e}, packs, nil))
		if _, err := table.Entry(0); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := mustOpen(t, encode(t, nil, nil, nil)).Entry(0); err == nil {
		t.Error("an entry of an empty segment")
	}
}

func TestABuilderRefusesDisorder(t *testing.T) {
	b := NewBuilder(&bytes.Buffer{}, testKeys(), testName)
	if err := errors.Join(b.Add(Entry{ID: content.ID{2}}), b.Add(Entry{ID: content.ID{2}})); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(Entry{ID: content.ID{1}}); err == nil {
		t.Error("an entry before the last is taken")
	}
	if err := b.Finish(Head{Packs: []Pack{{ID: packID(2)}, {ID: packID(1)}}}, nil); err == nil {
		t.Error("packs in disorder are taken")
	}
	if err := b.Finish(Head{Packs: []Pack{{ID: packID(1)}, {ID: packID(1)}}}, nil); err == nil {
		t.Error("a pack twice is taken")
	}
}
