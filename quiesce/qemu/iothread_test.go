package qemu

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

func threaded(t *testing.T) func(string) []string {
	return func(folder string) []string {
		args := []string{"-object", "iothread,id=io0"}
		args = append(args, diskArgs(t, folder, "one", "qcow2", "iothread=io0")...)
		args = append(args, diskArgs(t, folder, "two", "raw")...)
		return append(args, diskArgs(t, folder, "three", "raw", "iothread=io0")...)
	}
}

// The machine runs: with one started by -S, QEMU 7.2 survives the export that it must
// not be asked for, and the test would pass without the rule.
func TestADiskInAnIOThreadIsReadWithoutEndingQEMU(t *testing.T) {
	v := boot(t, threaded(t))
	needs.Tools(t, "fusermount3")
	v.waitForDriver("one")
	one, two := make([]byte, 64<<20), make([]byte, 64<<20)
	v.fill("one", 0, 3<<20, 0x11, one)
	v.fill("two", 1<<20, 5<<20, 0x22, two)
	disks := append(both(), DiskRequest{Name: "vdc"})
	parents := [][]byte{bytes.Clone(one), bytes.Clone(two), make([]byte, 64<<20)}
	s := v.snapshot(SnapshotRequest{Disks: disks, Point: bitmapOf("p1")})
	v.fill("one", 1<<20, 1<<20, 0x33, nil)
	v.fill("two", 1<<20, 1<<20, 0x33, nil)
	v.fill("three", 1<<20, 1<<20, 0x33, nil)
	for i, want := range parents {
		same(t, s.Disks[i].Name, content(t, s.Disks[i], nil), want)
	}
	if n := dataBytes(t, s.Disks[0]); n > 4<<20 {
		t.Errorf("%d bytes to read", n)
	}
	v.release(s, true)

	v.fill("one", 1<<20, 1<<20, 0x33, one)
	v.fill("two", 1<<20, 1<<20, 0x33, two)
	three := make([]byte, 64<<20)
	v.fill("three", 1<<20, 1<<20, 0x33, three)
	s = v.snapshot(SnapshotRequest{Disks: disks, Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	v.fill("one", 1<<20, 1<<20, 0x44, nil)
	for i, want := range [][]byte{one, two, three} {
		d := s.Disks[i]
		if d.Mode != ModeBitmap {
			t.Errorf("%s: %s", d.Name, d.Reason)
		}
		same(t, d.Name, content(t, d, parents[i]), want)
		if n := dataBytes(t, d); n != 1<<20 {
			t.Errorf("%s: %d bytes to read", d.Name, n)
		}
	}
	v.release(s, true)
	vm, err := v.m.VM(t.Context())
	if err != nil || !vm.Running {
		t.Fatalf("%+v, %v", vm, err)
	}
}

// waitForDriver waits until the firmware drives a disk, and so the I/O thread serves it.
func (v *vm) waitForDriver(disk string) {
	v.t.Helper()
	path := "/machine/peripheral/" + disk + "/virtio-backend"
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var s struct {
			Started bool `json:"started"`
		}
		err := v.hand.Do(v.t.Context(), "x-query-virtio-status", object{"path": path}, &s)
		if qmp.IsClass(err, qmp.CommandNotFound) || s.Started {
			return
		}
		if err != nil {
			v.t.Fatal(err)
		}
	}
	v.t.Fatal("the firmware does not drive the disk")
}

func TestWhereNothingElseIsPossibleADiskInAnIOThreadIsRefused(t *testing.T) {
	v := boot(t, threaded(t))
	v.m.features.fuse = false
	v.m.version = Version{Major: 8, Minor: 2}
	_, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p1"), Scratch: v.scratch})
	if err == nil || !strings.Contains(err.Error(), "iothread") {
		t.Error(err)
	}
	s := v.snapshot(SnapshotRequest{Disks: both()[1:], Point: bitmapOf("p1")})
	v.release(s, false)
}

func TestQEMUThatDiesLeavesNoMount(t *testing.T) {
	v := boot(t, threaded(t))
	needs.Tools(t, "fusermount3")
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	v.cmd.Process.Kill()
	if err := s.Watch(t.Context()); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if _, err := s.Disks[0].ReadAt(make([]byte, 4096), 1<<20); err == nil {
		t.Error("read from a QEMU that is gone")
	}
	if err := s.Release(context.Background(), false); err != nil {
		t.Error(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(mounts), v.scratch.Folder) {
		t.Errorf("%v: a mount is left", err)
	}
	if left, _ := os.ReadDir(v.scratch.Folder); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestAFUSEExportOfAnotherUserIsReadOrExplained(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can start QEMU as another user")
	}
	v := bootAs(t, nobody, func(f string) []string {
		args := threaded(t)(f)
		for _, name := range []string{"", "/one.qcow2", "/two.raw", "/three.raw"} {
			if err := os.Chown(f+name, int(nobody.Uid), int(nobody.Gid)); err != nil {
				t.Fatal(err)
			}
		}
		return args
	})
	held := false
	q := SnapshotRequest{Disks: both(), Point: bitmapOf("p1"), Scratch: v.scratch,
		Hold: func(ctx context.Context, during func(context.Context) error) error { held = true; return during(ctx) }}
	s, err := v.m.Snapshot(t.Context(), q)
	if err == nil {
		content(t, s.Disks[0], nil)
		v.release(s, true)
		return
	}
	if !strings.Contains(err.Error(), "FUSE") || !strings.Contains(err.Error(), wayOut) || held {
		t.Error(err)
	}
	v.nothingLeft(false, q)
}
