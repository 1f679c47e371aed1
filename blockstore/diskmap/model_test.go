package diskmap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// pages keeps pages as a vault does, and counts.
type pages struct {
	keys  *content.Keys
	have  map[content.ID][]byte
	put   int // calls
	added int // pages that were not there
	loads int
}

func newPages() *pages {
	return &pages{keys: content.Derive(content.Secret{7}), have: map[content.ID][]byte{}}
}

func (s *pages) store(page []byte, _ int, _ int64) (content.ID, error) {
	id := s.keys.ID(content.Page, page)
	s.put++
	if s.have[id] == nil {
		s.added++
		s.have[id] = slices.Clone(page)
	}
	return id, nil
}

func (s *pages) load(id content.ID, level int) (*Page, error) {
	s.loads++
	b, ok := s.have[id]
	if !ok {
		return nil, fmt.Errorf("no page %s", id.Short())
	}
	return Decode(b, level)
}

// disk is a map and what it should map.
type disk struct {
	m   *Map
	ids []content.ID
}

func number(n uint64) (id content.ID) {
	binary.BigEndian.PutUint64(id[:], n)
	return id
}

func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// build makes a disk of a random mixture of the three kinds of runs.
func build(t *testing.T, r *rand.Rand, s *pages, size int, parent *disk) *disk {
	t.Helper()
	var pm *Map
	if parent != nil {
		pm = parent.m
	}
	b := NewBuilder(int64(size), pm, s.store)
	d := &disk{ids: make([]content.ID, 0, size)}
	for len(d.ids) < size {
		n := 1 + r.IntN(min(size-len(d.ids), 1<<r.IntN(14)))
		var err error
		switch kind := r.IntN(3); {
		case kind == 0 && parent != nil && len(d.ids) < len(parent.ids):
			n = min(n, len(parent.ids)-len(d.ids))
			if r.IntN(3) == 0 { // as far as it goes
				n = min(size, len(parent.ids)) - len(d.ids)
			}
			err = b.AppendSame(int64(n))
			d.ids = append(d.ids, parent.ids[len(d.ids):len(d.ids)+n]...)
		case kind == 1:
			err = b.AppendZero(int64(n))
			d.ids = append(d.ids, make([]content.ID, n)...)
		default:
			n = min(n, 300)
			ids := make([]content.ID, n)
			for i := range ids {
				ids[i] = number(uint64(r.IntN(50))) // zero among them, and few
			}
			err = b.Append(ids)
			d.ids = append(d.ids, ids...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	d.m = &Map{Root: root, Blocks: int64(size), Load: s.load}
	return d
}

// plain builds the same disk from its IDs alone.
func plain(t *testing.T, s *pages, ids []content.ID) *Map {
	t.Helper()
	b := NewBuilder(int64(len(ids)), nil, s.store)
	if err := b.Append(ids); err != nil {
		t.Fatal(err)
	}
	root, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return &Map{Root: root, Blocks: int64(len(ids)), Load: s.load}
}

var sizes = []int{0, 1, 2, 63, 64, 65, 100, 4095, 4096, 4097, 5000, 8192}

func TestAMapHoldsWhatWasAppendedHoweverItWasAppended(t *testing.T) {
	r, s := seeded(t), newPages()
	parents := []*disk{nil}
	for range 12 {
		for _, size := range sizes {
			d := build(t, r, s, size, parents[r.IntN(len(parents))])
			parents = append(parents, d)
			if got := plain(t, s, d.ids); got.Root != d.m.Root {
				t.Fatalf("%d blocks: root %s, built block by block %s", size, d.m.Root.Short(), got.Root.Short())
			}
			from, n := int64(0), int64(size)
			if size > 0 && r.IntN(2) == 0 {
				from = int64(r.IntN(size))
				n = int64(r.IntN(size + 10)) // may reach over the end
			}
			visit(t, r, d, from, n)
		}
	}
}

// visit compares a range of a map with what it should hold, and demands that
// every block of it comes once, in order.
func visit(t *testing.T, r *rand.Rand, d *disk, first, n int64) {
	t.Helper()
	want := d.ids[min(first, int64(len(d.ids))):min(first+n, int64(len(d.ids)))]
	next := first
	check := func(at int64, ids []content.ID) error {
		if at != next || !slices.Equal(ids, d.ids[at:at+int64(len(ids))]) {
			t.Fatalf("blocks %d..: want those from %d, and other IDs", at, next)
		}
		next += int64(len(ids))
		return nil
	}
	err := d.m.Visit(t.Context(), first, n, Visitor{
		Blocks: check,
		Zero:   func(at, n int64) error { return check(at, make([]content.ID, n)) },
	})
	if err != nil || next-first != int64(len(want)) {
		t.Fatalf("visit of %d blocks from %d of %d: %d seen, %v", n, first, len(d.ids), next-first, err)
	}
	for range min(len(want), 5) {
		i := first + int64(r.IntN(len(want)))
		if id, err := d.m.Node(0, i); err != nil || id != d.ids[i] {
			t.Fatalf("block %d is %s, %v", i, id.Short(), err)
		}
	}
}

func TestDiffYieldsExactlyTheRangesThatDiffer(t *testing.T) {
	r, s := seeded(t), newPages()
	disks := []*disk{nil}
	for range 60 {
		d := build(t, r, s, sizes[r.IntN(len(sizes))], disks[r.IntN(len(disks))])
		disks = append(disks, d)
		e := disks[1+r.IntN(len(disks)-1)]
		diff(t, d, e)
		diff(t, e, d)
		for range 20 {
			same(t, r, d, e)
		}
	}
}

// same compares a random range by its IDs.
func same(t *testing.T, r *rand.Rand, a, b *disk) {
	t.Helper()
	size := max(len(a.ids), len(b.ids))
	first := r.IntN(size + 1)
	n := 1 + r.IntN(min(200, size-first+1))
	want := true
	for i := first; i < first+n; i++ {
		var x, y content.ID
		if i < len(a.ids) {
			x = a.ids[i]
		}
		if i < len(b.ids) {
			y = b.ids[i]
		}
		want = want && x == y
	}
	if got, err := Same(t.Context(), a.m, b.m, int64(first), int64(n)); got != want || err != nil {
		t.Fatalf("%d and %d blocks, %d from %d: same %v, want %v (%v)", len(a.ids), len(b.ids), n, first, got, want, err)
	}
}

func diff(t *testing.T, a, b *disk) {
	t.Helper()
	at := func(ids []content.ID, i int) content.ID {
		if i < len(ids) {
			return ids[i]
		}
		return content.ID{}
	}
	var want, got [][2]int64
	for i := range max(len(a.ids), len(b.ids)) {
		if at(a.ids, i) == at(b.ids, i) {
			continue
		}
		if n := len(want); n > 0 && want[n-1][0]+want[n-1][1] == int64(i) {
			want[n-1][1]++
		} else {
			want = append(want, [2]int64{int64(i), 1})
		}
	}
	err := Diff(t.Context(), a.m, b.m, func(first, n int64) error {
		got = append(got, [2]int64{first, n})
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d and %d blocks: differ in %v, want %v (%v)", len(a.ids), len(b.ids), got, want, err)
	}
}

func TestWhatDidNotChangeCostsNoPage(t *testing.T) {
	r, s := seeded(t), newPages()
	ids := make([]content.ID, 100_000) // three levels
	for i := range ids {
		ids[i] = number(r.Uint64())
	}
	parent := plain(t, s, ids)
	s.put, s.added = 0, 0
	b := NewBuilder(parent.Blocks, parent, s.store)
	if err := b.AppendSame(parent.Blocks); err != nil {
		t.Fatal(err)
	}
	if root, err := b.Finish(); err != nil || root != parent.Root || s.added != 0 || s.put > 1 {
		t.Errorf("an unchanged disk: root %s, want %s; %d pages put, %d of them new; %v", root.Short(), parent.Root.Short(), s.put, s.added, err)
	}

	s.put, s.added = 0, 0
	b = NewBuilder(parent.Blocks, parent, s.store)
	err := errors.Join(b.AppendSame(70_001), b.Append([]content.ID{number(1)}), b.AppendSame(parent.Blocks-70_002))
	root, finish := b.Finish()
	if err != nil || finish != nil || s.added != 3 || s.put != 3 {
		t.Errorf("one changed block: %d pages put, %d of them new, want the 3 above it; %v, %v", s.put, s.added, err, finish)
	}

	s.loads = 0
	changed := &Map{Root: root, Blocks: parent.Blocks, Load: s.load}
	if err := Diff(t.Context(), parent, changed, func(int64, int64) error { return nil }); err != nil || s.loads != 6 {
		t.Errorf("diff of one changed block loads %d pages, want 3 of each map; %v", s.loads, err)
	}
	s.loads = 0
	if same, err := Same(t.Context(), parent, changed, 5000, 60_000); !same || err != nil || s.loads > 2 {
		t.Errorf("what lies under shared pages: same %v, %d pages loaded, want the two roots; %v", same, s.loads, err)
	}
}

func TestAHoleCostsNothingWhateverItsSize(t *testing.T) {
	s := newPages()
	b := NewBuilder(MaxBlocks, nil, s.store)
	err := errors.Join(b.AppendZero(MaxBlocks-1), b.Append([]content.ID{number(9)}))
	root, finish := b.Finish()
	if err != nil || finish != nil || s.put != Levels(MaxBlocks) {
		t.Fatalf("%d pages, %v, %v", s.put, err, finish)
	}
	m := &Map{Root: root, Blocks: MaxBlocks, Load: s.load}
	if id, err := m.Node(0, MaxBlocks-1); err != nil || id != number(9) {
		t.Errorf("the last block is %v, %v", id, err)
	}
	b = NewBuilder(1<<40, nil, s.store)
	if err := b.AppendZero(1 << 40); err != nil {
		t.Fatal(err)
	}
	if root, err := b.Finish(); err != nil || !root.IsZero() {
		t.Errorf("a disk of zeros has root %v, %v", root, err)
	}
}

func TestABuilderRefusesBlocksThatTheDiskOrItsParentHasNot(t *testing.T) {
	s := newPages()
	parent := plain(t, s, []content.ID{number(1), number(2)})
	for name, do := range map[string]func(b *Builder) error{
		"more than the disk":   func(b *Builder) error { return b.Append(make([]content.ID, 4)) },
		"more zeros":           func(b *Builder) error { return b.AppendZero(4) },
		"more than the parent": func(b *Builder) error { return b.AppendSame(3) },
		"too few":              func(b *Builder) error { _, err := b.Finish(); return err },
	} {
		if err := do(NewBuilder(3, parent, s.store)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := NewBuilder(3, nil, s.store).AppendSame(1); err == nil {
		t.Error("same as no parent: no error")
	}
}

func TestALostPageIsReportedWithWhatItMapsAndTheRestIsVisited(t *testing.T) {
	s := newPages()
	ids := make([]content.ID, 300)
	for i := range ids {
		ids[i] = number(uint64(i + 1))
	}
	m := plain(t, s, ids)
	lost, err := m.Node(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	delete(s.have, lost)
	var broken *PageError
	if err := m.Visit(t.Context(), 0, 300, Visitor{}); !errors.As(err, &broken) || broken.First != 128 || broken.Blocks != 64 || broken.ID != lost {
		t.Fatalf("error %v", err)
	}
	seen := 0
	err = m.Visit(t.Context(), 0, 300, Visitor{
		Blocks: func(_ int64, ids []content.ID) error { seen += len(ids); return nil },
		Broken: func(*PageError) error { return nil },
	})
	if err != nil || seen != 300-64 {
		t.Errorf("%d blocks seen, %v", seen, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Visit(ctx, 0, 300, Visitor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
