package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// smallSized is a vault without data that a test can afford.
func smallSized(t *testing.T) (dir string, s sizedVault) {
	t.Helper()
	dir = filepath.Join(scratch(t), "sized")
	s = sizedVault{Blocks: 200_000, Dead: 6000, Machines: 20, Days: 25}
	if err := makeSized(t.Context(), dir, s, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	return dir, s
}

// noScratch is a folder that has no room for scratch files.
type noScratch struct{ *backend.Dir }

func (noScratch) Scratch() (*os.File, error) { return nil, errors.New("read-only") }

// TestAWalkMarksTheSameHoweverLittleMemoryItHas compares walks in memory,
// through files and in bits with marking point by point, and holds them to their memory.
func TestAWalkMarksTheSameHoweverLittleMemoryItHas(t *testing.T) {
	t.Parallel()
	dir, s := smallSized(t)
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	points, err := v.Points(t.Context())
	if err != nil || len(points) != s.Machines*s.Days+1 {
		t.Fatalf("%d points, %v", len(points), err)
	}
	there := func(pack.ID) bool { return true }
	plain := newMarks(v.tables.Load())
	var sum int64
	for _, p := range points {
		n, err := v.markPoint(t.Context(), plain, p, there)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	for _, c := range []struct {
		name   string
		memory int
		file   bool
	}{{"in memory", 64 << 20, true}, {"through files", 256 << 10, true}, {"in bits", 256 << 10, false}, {"in small bits", 16 << 10, false}} {
		m := newMarks(v.tables.Load())
		m.weigh(there)
		w := v.newWalk(m, c.memory)
		if !c.file {
			w.dir = noScratch{v.dir}
		}
		if err := w.points(t.Context(), points); err != nil || len(w.broken) > 0 {
			t.Fatalf("%s: %v, %d broken", c.name, err, len(w.broken))
		}
		if w.sum != sum || !reflect.DeepEqual(m.bits, plain.bits) {
			t.Errorf("%s: %d bytes are marked, %d point by point", c.name, w.sum, sum)
		}
		var pages, bytes int64
		for i, table := range m.set.tables {
			for j, u := range m.use[i] {
				bytes += u.bytes
				if table.Packs[j].Class == uint8(pack.Pages) {
					pages += int64(u.records)
				}
			}
		}
		if bytes != sum {
			t.Errorf("%s: %d bytes are marked, by packs %d", c.name, sum, bytes)
		}
		if w.pagesRead.Load() != pages {
			t.Errorf("%s: %d pages were read, there are %d", c.name, w.pagesRead.Load(), pages)
		}
		spilled := int64(0)
		for i := range w.lists {
			spilled += w.lists[i].spill.spilled
			if n := cap(w.lists[i].spill.mem); n > 2*c.memory {
				t.Errorf("%s: a list took %d bytes of memory", c.name, n)
			}
		}
		// Every ID at most once for each page that names it.
		if most := pages * 64 * 32; (spilled > 0) != (c.file && c.memory < 1<<20) || spilled > most {
			t.Errorf("%s: %d bytes were written, at most %d", c.name, spilled, most)
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAVaultOfHolesIsSwept lets sweep remove what nobody names, with lists that
// do not fit into memory. One pack holds something that is named beside what is not,
// and is all holes: sweep cannot copy it, and leaves it.
func TestAVaultOfHolesIsSwept(t *testing.T) {
	t.Parallel()
	dir, s := smallSized(t)
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	o.walkMemory = 256 << 10
	for _, removed := range []int{int(s.Dead / sizedPerPack), 0} {
		r, err := o.Sweep(t.Context(), SweepOptions{Now: true, Full: true})
		if err != nil || r.Removed != removed || r.Rewritten != 0 || r.Damaged == 0 || r.Live < s.Blocks*sizedRecord {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// TestAnIndexMadeFromSegmentsKnowsWhatTheyTell rebuilds the index of packs that
// have no lists of their own, one of which is cut short.
func TestAnIndexMadeFromSegmentsKnowsWhatTheyTell(t *testing.T) {
	t.Parallel()
	dir, _ := smallSized(t)
	v, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	tables := v.tables.Load().tables
	half := tables[len(tables)-1] // the oldest is the real point's
	for _, u := range tables {
		if u.Count > half.Count {
			half = u
		}
	}
	short := pack.ID(half.Packs[0].ID)
	if err := os.Truncate(v.dir.Path(packPath(writerID(half.Writer), short)), 5000); err != nil {
		t.Fatal(err)
	}
	if err := RebuildIndex(t.Context(), dir, OwnOptions{MinFree: -1}, nil); err != nil {
		t.Fatal(err)
	}
	o := ownVault(t, dir, OwnOptions{})
	defer o.Close()
	known := 0
	for _, u := range tables {
		for at := int64(0); at < u.Count; at += 97 {
			e, err := u.Entry(at)
			if err != nil {
				t.Fatal(err)
			}
			in := pack.ID(u.Packs[e.Pack].ID)
			place, ok, err := o.index.Get(e.ID)
			if err != nil || ok != (in != short) || ok && (place.Pack != in || place.Offset != e.Offset || place.Length != e.Length) {
				t.Fatalf("%s in pack %s: %+v, %v, %v", e.ID.Short(), in, place, ok, err)
			}
			if ok {
				known++
			}
		}
	}
	if known < 2000 {
		t.Errorf("only %d were asked for", known)
	}
}
