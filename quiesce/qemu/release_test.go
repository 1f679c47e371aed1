package qemu

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

func TestWhatChangedDuringARunThatFailedIsInTheNextPoint(t *testing.T) {
	v := boot(t, twoDisks(t))
	images := [][]byte{make([]byte, 64<<20), make([]byte, 64<<20)}
	v.fill("one", 0, 1<<20, 0x11, images[0])
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	parents := [][]byte{bytes.Clone(images[0]), bytes.Clone(images[1])}
	v.fill("one", 2<<20, 1<<20, 0x22, images[0]) // before the run that fails
	s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	v.fill("one", 4<<20, 1<<20, 0x33, images[0]) // during it
	v.fill("two", 4<<20, 1<<20, 0x33, images[1])
	v.release(s, false)
	v.fill("two", 8<<20, 1<<20, 0x44, images[1]) // after it
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p3")})
	for i, d := range s.Disks {
		if d.Mode != ModeBitmap {
			t.Errorf("%s: %s", d.Name, d.Reason)
		}
		same(t, d.Name, content(t, d, parents[i]), images[i])
		if n := dataBytes(t, d); n != 2<<20 {
			t.Errorf("%s: %d bytes to read", d.Name, n)
		}
	}
	v.release(s, true)
}

func TestBitmapsOfOthersAndTheirServersStay(t *testing.T) {
	v := boot(t, twoDisks(t))
	names := []string{"backup-of-somebody", "hf-fedcba9876543210-p7", "hf-", "hf-x"}
	for _, name := range names {
		v.do("block-dirty-bitmap-add", object{"node": "n-two", "name": name}, nil)
	}
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	v.release(s, true)
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")}), true)
	disks, err := v.m.Disks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, bitmapOf("p2")) {
		if b := disks[1].bitmap(name); b == nil || !b.Recording || b.Busy {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if n := len(disks[1].Bitmaps); n != len(names)+1 {
		t.Errorf("%d bitmaps", n)
	}

	v.do("nbd-server-start", object{"addr": object{"type": "unix", "data": object{"path": v.folder + "/foreign"}}}, nil)
	v.do("block-export-add", object{"type": "nbd", "id": "foreign", "node-name": "n-two"}, nil)
	q := SnapshotRequest{Disks: both(), Parent: bitmapOf("p2"), Point: bitmapOf("p3"), Scratch: v.scratch,
		Hold: func(context.Context, func(context.Context) error) error {
			t.Error("the guest was held for a snapshot that cannot be")
			return nil
		}}
	if _, err := v.m.Snapshot(t.Context(), q); !errors.Is(err, ErrForeignServer) {
		t.Error(err)
	}
	v.nothingLeft(false, q)
	if _, err := v.m.Clean(t.Context(), CleanRequest{Vault: testVault, Keep: bitmapOf("p2"), Scratch: v.scratch}); err != nil {
		t.Error(err)
	}
	e, err := OpenExport(t.Context(), ExportOptions{Socket: v.folder + "/foreign", Export: "n-two"})
	if err != nil {
		t.Fatal("the foreign server is gone:", err)
	}
	e.Close()
}

func TestAHoldThatFailsLeavesNothing(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	broken := errors.New("the guest does not hold still")
	for name, hold := range map[string]func(context.Context, func(context.Context) error) error{
		"before": func(context.Context, func(context.Context) error) error { return broken },
		"after": func(ctx context.Context, during func(context.Context) error) error {
			return errors.Join(during(ctx), broken)
		},
		"not at all": func(context.Context, func(context.Context) error) error { return nil },
		"twice": func(ctx context.Context, during func(context.Context) error) error {
			return errors.Join(during(ctx), during(ctx))
		},
	} {
		q := SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2"), Scratch: v.scratch, Hold: hold}
		s, err := v.m.Snapshot(t.Context(), q)
		if err == nil || s != nil || strings.HasPrefix(name, "be") && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		v.nothingLeft(false, q)
		disks, err := v.m.Disks(t.Context())
		if err != nil || disks[0].doubt(bitmapOf("p1")) != "" {
			t.Errorf("%s: %v, %+v", name, err, disks)
		}
	}
}

func TestOneRunAtATimeWorksOnAMachine(t *testing.T) {
	v := boot(t, twoDisks(t))
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	if _, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p2"), Scratch: v.scratch}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if _, err := v.m.Clean(t.Context(), CleanRequest{Vault: testVault, Scratch: v.scratch}); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	elsewhere := v.scratch
	elsewhere.Folder = filepath.Join(t.TempDir(), "elsewhere")
	_, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p2"), Scratch: elsewhere})
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "another scratch folder") {
		t.Errorf("with another scratch folder: %v", err)
	}
	if left, _ := os.ReadDir(elsewhere.Folder); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	disks, err := v.m.Disks(t.Context())
	if err != nil || len(disks) != 2 || disks[0].Node != "n-one" || disks[1].Node != "n-two" || disks[1].LeftOut != "" {
		t.Errorf("%v, %+v", err, disks)
	}
	v.release(s, true)
}

func TestASnapshotThatEndedFailsItsReaders(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.fill("one", 0, 1<<20, 0x11, nil)
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	v.do("job-cancel", object{"id": jobName(0)}, nil)
	if err := s.Watch(t.Context()); err == nil || !strings.Contains(err.Error(), "vda") {
		t.Error(err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("believed")
	}
	for _, d := range s.Disks {
		if _, err := d.ReadAt(make([]byte, 4096), 0); err == nil {
			t.Error("read")
		}
		if err := d.Extents(t.Context(), nil); err == nil {
			t.Error("extents")
		}
	}
	if err := s.Release(t.Context(), false); err != nil {
		t.Error(err)
	}
	v.nothingLeft(false, s.request)
}

// flaky is a monitor that does not answer now and then, as libvirt's while it restarts.
type flaky struct {
	*qmp.Client
	silent atomic.Bool
}

func (f *flaky) Do(ctx context.Context, command string, args, reply any) error {
	if f.silent.Load() {
		return errors.New("nobody listens")
	}
	return f.Client.Do(ctx, command, args, reply)
}

func TestAMonitorThatIsAwayForAWhileDoesNotEndASnapshot(t *testing.T) {
	v := boot(t, twoDisks(t))
	f := &flaky{Client: v.mon}
	v.m.mon = f
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	f.silent.Store(true)
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "nobody listens") {
		t.Error(err)
	}
	pause(t.Context(), 4*v.m.opts.Interval)
	f.silent.Store(false)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	content(t, s.Disks[0], nil)
	v.release(s, true)

	// One that is away at the end leaves things behind, and the next run removes them.
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	f.silent.Store(true)
	if err := s.Release(t.Context(), false); err == nil {
		t.Error("released without a monitor")
	}
	if _, err := os.Stat(s.run.path); err != nil {
		t.Error("scratch files that QEMU still writes to are out of sight:", err)
	}
	f.silent.Store(false)
	left, err := v.m.Leftovers(t.Context(), CleanRequest{Vault: testVault, Keep: bitmapOf("p1"), Scratch: v.scratch})
	if err != nil || len(left) < 8 {
		t.Errorf("%v, %v", left, err)
	}
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p3")})
	if len(s.Cleaned) < 8 || s.Disks[0].Mode != ModeBitmap {
		t.Errorf("%v, %s", s.Cleaned, s.Disks[0].Reason)
	}
	v.release(s, true)
}
