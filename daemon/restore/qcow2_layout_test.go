package restore

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestAQcow2LayoutPutsEveryByteWhereItsTablesSay(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 2))
	for range 20 {
		size := 1 + rng.Int64N(3<<30)
		l, err := newLayout(size)
		if err != nil {
			t.Fatal(err)
		}
		have := make(map[int64]bool)
		for range rng.IntN(200) {
			off := rng.Int64N(size)
			e := blockstore.Extent{Offset: off, Length: min(size-off, 1+rng.Int64N(1<<20))}
			l.add(e)
			for c := e.Offset >> clusterBits; c <= (e.End()-1)>>clusterBits; c++ {
				have[c] = true
			}
		}
		l.place()
		if int64(len(have)) != l.data {
			t.Fatalf("%d data clusters, want %d", l.data, len(have))
		}
		next := l.dataAt()
		for c := range ceil(size, clusterSize) {
			host, mapped := l.host(c)
			if mapped != have[c] || mapped && host != next {
				t.Fatalf("cluster %d is at %d, %v; want %d, %v", c, host, mapped, next, have[c])
			}
			if mapped {
				next++
			}
		}
		for range 100 {
			off := rng.Int64N(size)
			at, n, mapped := l.find(off, min(size-off, 2<<20))
			if n < 1 || n > size-off {
				t.Fatalf("%d bytes at %d of %d", n, off, size)
			}
			for i := int64(0); i < n; i += 997 {
				host, m := l.host((off + i) >> clusterBits)
				if m != mapped || m && at+i != host<<clusterBits+(off+i)%clusterSize {
					t.Fatalf("byte %d of %d at %d is not where it was found", i, n, off)
				}
			}
		}
	}
}

func TestAQcow2OfManyRefcountBlocksIsClean(t *testing.T) {
	t.Parallel()
	needs.Tools(t, "qemu-img")
	l, err := newLayout(9 << 30)
	if err != nil {
		t.Fatal(err)
	}
	l.add(blockstore.Extent{Length: 9<<30 - 1<<20})
	l.place()
	file := filepath.Join(t.TempDir(), "x")
	q, err := createQcow2(file, l, fileOptions{mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Commit(); err != nil {
		t.Fatal(err)
	}
	if l.refBlocks < 5 {
		t.Errorf("%d refcount blocks", l.refBlocks)
	}
	checkQcow2(t, file)
}

func TestRefcountsCountThemselvesAtAnySize(t *testing.T) {
	t.Parallel()
	const edge = refcountEntries
	for _, data := range []int64{0, 1, edge - 5, edge - 4, edge - 3, edge - 2, edge, edge*clusterSize/8 - 8200, edge * clusterSize / 8, 1 << 34} {
		l := &layout{data: data, l1: 1, tables: 1}
		l.placeRefcounts()
		if spare := l.refBlocks*refcountEntries - l.clusters(); spare < 0 || spare >= refcountEntries {
			t.Errorf("%d data clusters: %d refcount blocks for %d clusters", data, l.refBlocks, l.clusters())
		}
		if spare := l.refTable*clusterSize/8 - l.refBlocks; spare < 0 || spare >= clusterSize/8 {
			t.Errorf("%d data clusters: %d clusters of table for %d blocks", data, l.refTable, l.refBlocks)
		}
	}
}

func TestADiskTooLargeForQcow2IsRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d := newDisk("vda", maxQcow2+1, 65536)
	if _, err := Run(t.Context(), toFile(d, Qcow2, filepath.Join(folder, "x")), Options{}); err == nil || !strings.Contains(err.Error(), "as raw") {
		t.Errorf("error is %v", err)
	}
	wantNames(t, folder)
}
