package backup_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

// memory is a disk in memory.
type memory struct {
	*bytes.Reader
	identity string
	inUse    bool
	changed  error
	watch    func(context.Context) error                                // nil: nobody comes
	extents  func(context.Context, func(blockstore.Extent) error) error // nil: all data

	reads, open atomic.Int64
}

func newMemory(seed uint64, size int) *memory {
	b := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	rng.Read(b)
	return &memory{Reader: bytes.NewReader(b)}
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.reads.Add(1)
	return m.Reader.ReadAt(p, off)
}

func (m *memory) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	if m.extents != nil {
		return m.extents(ctx, fn)
	}
	return fn(blockstore.Extent{Length: m.Size()})
}

func (m *memory) Close() error            { m.open.Add(-1); return nil }
func (m *memory) Format() string          { return "raw" }
func (m *memory) SectorSizes() (int, int) { return 512, 4096 }
func (m *memory) Identity() string        { return m.identity }
func (m *memory) InUse() bool             { return m.inUse }
func (m *memory) Verify() error           { return m.changed }

func (m *memory) Watch(ctx context.Context) error {
	if m.watch != nil {
		return m.watch(ctx)
	}
	<-ctx.Done()
	return nil
}

func (m *memory) disk(name string) backup.Disk {
	return backup.Disk{Name: name, Source: "/vms/" + name, Open: func(context.Context) (backup.Image, error) {
		m.open.Add(1)
		return m, nil
	}}
}

func own(t *testing.T) *blockstore.Owner {
	t.Helper()
	path := t.TempDir() + "/vault"
	if _, err := blockstore.Create(t.Context(), path, blockstore.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	o, err := blockstore.Own(t.Context(), path, blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// points fails the test unless the vault lists n points.
func points(t *testing.T, o *blockstore.Owner, n int) []*blockstore.Point {
	t.Helper()
	all, err := o.Points(t.Context())
	if err != nil || len(all) != n {
		t.Fatalf("the vault lists %d points, %v; want %d", len(all), err, n)
	}
	return all
}

func TestABackupIsOnePointOfAllItsDisks(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda, vdb := newMemory(1, 1<<20+512), newMemory(2, 300_000)
	var mu sync.Mutex
	var last backup.Progress
	res, err := backup.Run(t.Context(), o, backup.Request{
		Machine: "web1", Tool: "test", Disks: []backup.Disk{vda.disk("vda"), vdb.disk("vdb")},
		Progress: func(p backup.Progress) {
			mu.Lock()
			defer mu.Unlock()
			if p.Done < 0 || p.Done > p.Total || p.Total != vda.Size()+vdb.Size() {
				t.Errorf("progress of %d of %d", p.Done, p.Total)
			}
			last = p
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := points(t, o, 1)[0]
	if p.ID != res.Point.ID || len(p.Disks) != 2 || p.Reached != blockstore.Crash || !strings.Contains(p.Reason, "machine that is off") {
		t.Errorf("the point is %+v", p)
	}
	if last.Disk != "vdb" || len(res.Warnings) > 0 || p.Disks[0].LogicalSector != 512 || p.Disks[0].Source != "/vms/vda" {
		t.Errorf("last progress %+v, result %+v, disk %+v", last, res, p.Disks[0])
	}
	for _, m := range []*memory{vda, vdb} {
		if m.open.Load() != 0 {
			t.Error("a disk was left open")
		}
	}
	d, err := o.OpenDisk(p, "vda")
	if err != nil {
		t.Fatal(err)
	}
	want, got := make([]byte, vda.Size()), make([]byte, vda.Size())
	vda.Reader.ReadAt(want, 0)
	if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk in the point differs: %v", err)
	}
}

func TestAWriterThatAppearsEndsTheBackup(t *testing.T) {
	t.Parallel()
	o := own(t)
	started := errors.New("qemu (pid 71) opened it for writing")
	reading := make(chan struct{})
	vda := newMemory(1, 1<<20)
	vda.extents = func(ctx context.Context, fn func(blockstore.Extent) error) error {
		close(reading)
		<-ctx.Done() // a long disk
		return ctx.Err()
	}
	vdb := newMemory(2, 1<<16)
	vdb.watch = func(context.Context) error {
		<-reading
		return started
	}
	_, err := backup.Run(t.Context(), o, backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda"), vdb.disk("vdb")}})
	if !errors.Is(err, started) || !strings.Contains(err.Error(), "back up web1: disk vdb: ") {
		t.Errorf("ended with %v", err)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("%v looks like an interruption", err)
	}
	points(t, o, 0)
	if vda.open.Load() != 0 || vdb.open.Load() != 0 {
		t.Error("a disk was left open, and holds the machine up")
	}
}

func TestADiskThatChangedMeanwhileMakesNoPoint(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda := newMemory(1, 1<<17)
	vda.changed = errors.New("modified at 10:00")
	q := backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda")}}
	if _, err := backup.Run(t.Context(), o, q); !errors.Is(err, vda.changed) {
		t.Errorf("ended with %v", err)
	}
	points(t, o, 0)
	vda.changed = nil
	if _, err := backup.Run(t.Context(), o, q); err != nil {
		t.Errorf("the next run: %v", err)
	}
	points(t, o, 1)
}

func TestAnInterruptedBackupMakesNoPoint(t *testing.T) {
	t.Parallel()
	o := own(t)
	ctx, cancel := context.WithCancel(t.Context())
	vda := newMemory(1, 1<<17)
	vda.extents = func(ctx context.Context, _ func(blockstore.Extent) error) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := backup.Run(ctx, o, backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda")}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	points(t, o, 0)
	if vda.open.Load() != 0 {
		t.Error("the disk was left open")
	}
}

func TestAnUntouchedDiskIsTakenOverUnreadWhenAsked(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda := newMemory(1, 1<<18)
	vda.identity = "inode 7, modified then"
	q := backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda")}}
	run := func(skip bool, wantSkipped int) *backup.Result {
		t.Helper()
		q.SkipUnchanged = skip
		vda.reads.Store(0)
		res, err := backup.Run(t.Context(), o, q)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Skipped) != wantSkipped || (vda.reads.Load() == 0) != (wantSkipped > 0) {
			t.Errorf("skipped %v after %d reads, want %d", res.Skipped, vda.reads.Load(), wantSkipped)
		}
		return res
	}
	first := run(true, 0)
	second := run(true, 1)
	if second.Point.Disks[0].Root != first.Point.Disks[0].Root || second.Point.ID == first.Point.ID {
		t.Error("the disk that was taken over is another")
	}
	run(false, 0)
	vda.inUse = true
	run(true, 0)
	vda.inUse = false
	vda.identity = "inode 7, modified now"
	run(true, 0)
	vda.identity = "" // cannot be told
	run(true, 0)
	run(true, 0)
}

func TestAnImageInUseIsSaidInPointAndWarnings(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda := newMemory(1, 1<<16)
	vda.inUse = true
	res, err := backup.Run(t.Context(), o, backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda")}})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Warnings) != 1 || res.Point.Reason != "image was in use" || res.Point.Reached != blockstore.Crash {
		t.Errorf("warnings %q, reason %q", res.Warnings, res.Point.Reason)
	}
}

func TestWhatCannotBeBackedUpIsRefusedBeforeAnythingIsOpened(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda := newMemory(1, 1<<16)
	onItself := vda.disk("vda")
	onItself.Holds = func(path string) (bool, error) { return path == o.Info().Path, nil }
	unknown := vda.disk("vda")
	unknown.Holds = func(string) (bool, error) { return false, errors.New("no such device") }
	for name, test := range map[string]struct {
		q    backup.Request
		says string
	}{
		"no disk":        {backup.Request{Machine: "web1"}, "no disk"},
		"no machine":     {backup.Request{Disks: []backup.Disk{vda.disk("vda")}}, "machine is empty"},
		"bad machine":    {backup.Request{Machine: "../x", Disks: []backup.Disk{vda.disk("vda")}}, "machine name"},
		"bad disk":       {backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("a/b")}}, "disk name"},
		"a disk twice":   {backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda"), vda.disk("vda")}}, "named twice"},
		"vault on it":    {backup.Request{Machine: "web1", Disks: []backup.Disk{onItself}}, "keep the vault on another disk"},
		"cannot be told": {backup.Request{Machine: "web1", Disks: []backup.Disk{unknown}}, "no such device"},
	} {
		_, err := backup.Run(t.Context(), o, test.q)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if vda.reads.Load() != 0 || vda.open.Load() != 0 {
		t.Error("a disk was touched")
	}
	points(t, o, 0)
}

func TestADiskThatCannotBeOpenedClosesTheOthers(t *testing.T) {
	t.Parallel()
	o := own(t)
	vda := newMemory(1, 1<<16)
	busy := errors.New("in use by qemu")
	vdb := backup.Disk{Name: "vdb", Open: func(context.Context) (backup.Image, error) { return nil, busy }}
	_, err := backup.Run(t.Context(), o, backup.Request{Machine: "web1", Disks: []backup.Disk{vda.disk("vda"), vdb}})
	if !errors.Is(err, busy) || vda.open.Load() != 0 {
		t.Errorf("%v; %d disks open", err, vda.open.Load())
	}
}
