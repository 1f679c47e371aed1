package blockstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// generated is a source whose extents are given and whose data is made from
// offsets: a disk of any size.
type generated struct {
	size    int64
	extents []Extent
	seed    uint64
}

func (g generated) Size() int64 { return g.size }

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	for i := 0; i+8 <= len(p); i += 8 {
		x := (uint64(off) + uint64(i) + g.seed) * 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint64(p[i:], x^x>>29)
	}
	return len(p), nil
}

func (g generated) Extents(ctx context.Context, fn func(Extent) error) error {
	for _, e := range g.extents {
		if err := fn(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// manyPoints commits n points of a small disk, of which one block changes each time.
func manyPoints(tb testing.TB, o *Owner, n, machines int) {
	tb.Helper()
	size := int64(1 << 20)
	for i := range n {
		name := fmt.Sprintf("vm%03d", i%machines)
		b, err := o.Begin(tb.Context(), BackupOptions{Machine: name, Time: time.Now()})
		if err != nil {
			tb.Fatal(err)
		}
		info := DiskInfo{Name: "vda", Format: "raw", Size: size}
		if b.Parent() == nil || i%100 == 0 {
			err = b.AddDisk(tb.Context(), info, generated{size, []Extent{{0, 64 << 10, Data}, {64 << 10, size - 64<<10, Zero}}, uint64(i)}, nil)
		} else {
			err = b.KeepDisk(info)
		}
		if err == nil {
			_, err = b.Commit(tb.Context())
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func TestACommitCostsTheSameHoweverManyPointsThereAre(t *testing.T) {
	o := ownVault(t, vaultIn(t, DefaultBlockSize), OwnOptions{})
	defer o.Close()
	const points = 1000
	manyPoints(t, o, points, 10)
	list, err := o.Points(t.Context())
	if err != nil || len(list) != points {
		t.Fatalf("%d points, %v", len(list), err)
	}
	names, err := o.segmentNames()
	if err != nil || len(names) > 5*maxPerClass {
		t.Errorf("%d segments, %v", len(names), err)
	}
}

// BenchmarkOpenAndListTenThousandPoints opens a vault with 10,000 points and
// lists them, which takes less than a second.
func BenchmarkOpenAndListTenThousandPoints(b *testing.B) {
	dir := vaultIn(b, DefaultBlockSize)
	o := ownVault(b, dir, OwnOptions{})
	began := time.Now()
	manyPoints(b, o, 10_000, 20)
	b.Logf("10,000 commits took %v", time.Since(began))
	if err := o.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		v, err := Open(b.Context(), dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		points, err := v.Points(b.Context())
		if err != nil || len(points) != 10_000 {
			b.Fatalf("%d points, %v", len(points), err)
		}
		v.Close()
	}
}

// hugeSize is that of a large disk: 6 TiB, 100 million blocks.
const hugeSize = 6 << 40

// hugePoint commits a point of a full disk of 6 TiB whose blocks are all alike,
// without reading it: the tree's pages are made level by level.
func hugePoint(t testing.TB, o *Owner) *Point {
	t.Helper()
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "huge", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	rec := o.encoder()
	store := func(kind content.Kind, data []byte) ID {
		id := o.keys.ID(kind, data)
		if _, err := b.store(rec, kind, id, data); err != nil {
			t.Fatal(err)
		}
		return id
	}
	block := make([]byte, DefaultBlockSize)
	copy(block, "the same everywhere")
	id := store(content.Block, block)
	nodes := int64(hugeSize / DefaultBlockSize)
	for level := 1; level <= diskmap.Levels(hugeSize/DefaultBlockSize); level++ {
		if level > 1 && nodes%diskmap.Fanout != 0 && nodes > diskmap.Fanout {
			t.Fatal("a disk of this size has pages that are not alike")
		}
		page := diskmap.Page{Level: uint8(level)}
		for i := range min(nodes, diskmap.Fanout) {
			page.IDs[i] = id
		}
		id = store(content.Page, page.Encode(nil))
		nodes /= diskmap.Fanout
	}
	err = b.addDisk(DiskInfo{Name: "vda", Size: hugeSize, Root: id, Sizes: Sizes{Logical: hugeSize, Protected: hugeSize}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bytesIn sums the sizes of the files under packs, segments and points.
func bytesIn(t testing.TB, dir string) (sum int64) {
	t.Helper()
	for _, d := range []string{packsDir, segmentsDir, pointsDir} {
		err := filepath.WalkDir(filepath.Join(dir, d), func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				st, err := e.Info()
				if err != nil {
					return err
				}
				sum += st.Size()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return sum
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u) // never fails
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func addHuge(t testing.TB, o *Owner, extents []Extent) *Point {
	t.Helper()
	b, err := o.Begin(t.Context(), BackupOptions{Machine: "huge", Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	if extents == nil {
		err = b.KeepDisk(DiskInfo{Name: "vda", Size: hugeSize})
	} else {
		err = b.AddDisk(t.Context(), DiskInfo{Name: "vda"}, generated{hugeSize, extents, 1}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestABackupOfAHugeDiskCostsWhatChanged(t *testing.T) {
	dir := vaultIn(t, DefaultBlockSize)
	o := ownVault(t, dir, OwnOptions{})
	hugePoint(t, o)

	before, began := bytesIn(t, dir), cpu()
	addHuge(t, o, nil)
	kept, keptCPU := bytesIn(t, dir)-before, cpu()-began
	before, began = bytesIn(t, dir), cpu()
	p := addHuge(t, o, []Extent{{0, hugeSize, Same}})
	same, sameCPU := bytesIn(t, dir)-before, cpu()-began
	t.Logf("kept: %d bytes, %v CPU; same: %d bytes, %v CPU", kept, keptCPU, same, sameCPU)
	if kept > 64<<10 || same > 64<<10 {
		t.Errorf("%d and %d bytes were added for nothing", kept, same)
	}
	if p.Sizes.Protected != hugeSize || p.Sizes.Changed != 0 || p.Sizes.Stored != 0 {
		t.Errorf("sizes %+v", p.Sizes)
	}

	const changes = 2500
	var extents []Extent
	at := int64(0)
	for i := range int64(changes) {
		block := i*(hugeSize/DefaultBlockSize/changes) + i*7919%1000
		off := block * DefaultBlockSize
		extents = append(extents, Extent{at, off - at, Same}, Extent{off, DefaultBlockSize, Data})
		at = off + DefaultBlockSize
	}
	extents = append(extents, Extent{at, hugeSize - at, Same})
	began = cpu()
	p = addHuge(t, o, extents)
	t.Logf("%d scattered changes: %d bytes stored, %v CPU", changes, p.Sizes.Stored, cpu()-began)
	// The blocks themselves do not compress.
	if pages := p.Sizes.Stored - changes*DefaultBlockSize; pages > 16<<20 {
		t.Errorf("%d bytes of pages for %d changed blocks", pages, changes)
	}
	if p.Sizes.Changed != changes*DefaultBlockSize {
		t.Errorf("%d bytes changed, want %d", p.Sizes.Changed, changes*DefaultBlockSize)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}
