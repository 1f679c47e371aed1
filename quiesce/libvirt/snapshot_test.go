package libvirt

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// request asks for vda and vdb into a folder of the test's own.
func request(v *vm, parent, point string) SnapshotRequest {
	return SnapshotRequest{SnapshotRequest: qemu.SnapshotRequest{
		Disks:   []qemu.DiskRequest{{Name: "vda"}, {Name: "vdb"}},
		Parent:  parent,
		Point:   point,
		Scratch: qemu.ScratchOptions{Folder: v.dir, LowWater: 1 << 20},
	}}
}

func take(v *vm, q SnapshotRequest) *Snapshot {
	v.t.Helper()
	s, err := v.Snapshot(ctx(v.t), q)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func release(v *vm, s *Snapshot, committed bool) {
	v.t.Helper()
	if err := s.Release(ctx(v.t), committed); err != nil {
		v.t.Fatal(err)
	}
}

// readAll is a disk of a snapshot on top of what the parent point held, and how many bytes had to be read.
func readAll(t testing.TB, s *SnapshotDisk, parent []byte) (content []byte, read int64) {
	t.Helper()
	content = make([]byte, s.Size())
	copy(content, parent)
	err := s.Extents(ctx(t), func(e blockstore.Extent) error {
		part := content[e.Offset:e.End()]
		switch e.Kind {
		case blockstore.Zero:
			clear(part)
		case blockstore.Data:
			read += e.Length
			if _, err := s.ReadAt(part, e.Offset); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return content, read
}

func want(t testing.TB, content []byte, at int64, pattern byte, length int) {
	t.Helper()
	if !bytes.Equal(content[at:at+int64(length)], bytes.Repeat([]byte{pattern}, length)) {
		t.Errorf("the %d bytes from %d on are not all %d: %x...", length, at, pattern, content[at:at+8])
	}
}

func checkpointNames(v *vm) []string {
	v.t.Helper()
	names, err := v.checkpoints(ctx(v.t))
	if err != nil {
		v.t.Fatal(err)
	}
	return names
}

func wantCheckpoints(v *vm, names ...string) {
	v.t.Helper()
	got := checkpointNames(v)
	if len(got) != len(names) {
		v.t.Fatalf("checkpoints %q, want %q", got, names)
	}
	for i := range names {
		if got[i] != names[i] {
			v.t.Fatalf("checkpoints %q, want %q", got, names)
		}
	}
}

// wantClean sees to it that nothing of ours is left but the checkpoint keep.
func wantClean(v *vm, keep string) {
	v.t.Helper()
	left, err := v.Leftovers(ctx(v.t), CleanRequest{Keep: keep, Scratch: qemu.ScratchOptions{Folder: v.dir}})
	if err != nil || len(left) > 0 {
		v.t.Fatalf("left: %v (%v)", left, err)
	}
	if _, err := os.Stat(v.dir + "/hf-" + v.UUID()); err == nil {
		v.t.Fatal("the folder for scratch files is still there")
	}
}

const vault, p1, p2, p3 = "0123456789abcdef", "hf-0123456789abcdef-p1", "hf-0123456789abcdef-p2", "hf-0123456789abcdef-p3"

func TestASecondBackupReadsOnlyWhatChangedAndSeesOneInstant(t *testing.T) {
	v := define(t, vmOptions{name: "-we ird@x:y"})
	v.io("vda", "write -P 1 1M 64k")
	v.io("vdb", "write -P 1 1M 64k")
	s := take(v, request(v, "", p1))
	v.io("vda", "write -P 2 1M 64k") // after the instant
	v.io("vdb", "write -P 2 1M 64k")
	v.io("vda", "write -P 2 30M 64k")
	if s.Disks[0].Mode != qemu.ModeScan || s.Disks[1].Mode != qemu.ModeScan {
		t.Errorf("a first point is a scan, not %s and %s", s.Disks[0].Mode, s.Disks[1].Mode)
	}
	first, _ := readAll(t, s.Disks[0], nil)
	want(t, first, 1<<20, 1, 64<<10)
	want(t, first, 30<<20, 0, 64<<10)
	raw, _ := readAll(t, s.Disks[1], nil)
	want(t, raw, 1<<20, 1, 64<<10)
	if err := s.Check(ctx(t)); err != nil {
		t.Error(err)
	}
	release(v, s, true)
	wantClean(v, p1)

	s = take(v, request(v, p1, p2))
	if s.Disks[0].Mode != qemu.ModeBitmap {
		t.Errorf("vda: %s, because %s", s.Disks[0].Mode, s.Disks[0].Reason)
	}
	if s.Disks[1].Mode != qemu.ModeScan || s.Disks[1].Reason == "" {
		t.Errorf("vdb is raw, and libvirt has no checkpoints of raw disks: %s %q", s.Disks[1].Mode, s.Disks[1].Reason)
	}
	second, read := readAll(t, s.Disks[0], first)
	want(t, second, 1<<20, 2, 64<<10)
	want(t, second, 30<<20, 2, 64<<10)
	if read != 128<<10 {
		t.Errorf("%d bytes read, and 128 KiB changed", read)
	}
	release(v, s, true)
	wantCheckpoints(v, p2)
	wantClean(v, p2)
}

func TestAfterAFailureTheParentKnowsAllThatChanged(t *testing.T) {
	v := define(t, vmOptions{})
	s := take(v, request(v, "", p1))
	first, _ := readAll(t, s.Disks[0], nil)
	release(v, s, true)
	v.io("vda", "write -P 3 2M 64k")
	s = take(v, request(v, p1, p2))
	v.io("vda", "write -P 4 4M 64k") // while p2 counts
	release(v, s, false)
	wantCheckpoints(v, p1)
	wantClean(v, p1)
	v.io("vda", "write -P 5 6M 64k")
	s = take(v, request(v, p1, p3))
	content, read := readAll(t, s.Disks[0], first)
	want(t, content, 2<<20, 3, 64<<10)
	want(t, content, 4<<20, 4, 64<<10)
	want(t, content, 6<<20, 5, 64<<10)
	if read != 3*64<<10 || s.Disks[0].Mode != qemu.ModeBitmap {
		t.Errorf("%d bytes read (%s), and 192 KiB changed", read, s.Disks[0].Mode)
	}
	release(v, s, true)
	wantCheckpoints(v, p3)
}

func TestAHoldThatFailsLeavesNothing(t *testing.T) {
	v := define(t, vmOptions{})
	for _, after := range []bool{false, true} {
		q := request(v, "", p1)
		q.Hold = func(ctx context.Context, during func(context.Context) error) error {
			if after {
				if err := during(ctx); err != nil {
					t.Error(err)
				}
			}
			return os.ErrDeadlineExceeded
		}
		if _, err := v.Snapshot(ctx(t), q); err == nil {
			t.Fatal("a hold that fails is no snapshot")
		}
		wantCheckpoints(v)
		wantClean(v, "")
	}
}

// TestWhoeverAsksForStatisticsMeanwhileDoesNotEndTheDomain lets a monitoring program look on. libvirt asks
// QEMU for its nodes then, and QEMU ends where one of them is a qcow2 image that is being made.
func TestWhoeverAsksForStatisticsMeanwhileDoesNotEndTheDomain(t *testing.T) {
	v := define(t, vmOptions{})
	watched, stop := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for watched.Err() == nil {
			cmd := exec.CommandContext(watched, "virsh", "-q", "-c", "qemu:///system")
			cmd.Stdin = strings.NewReader(strings.Repeat("domstats --block "+v.uuid+"\n", 100))
			cmd.Run() // its answers are of no interest
		}
	})
	for i := range 6 {
		s, err := v.Snapshot(ctx(t), request(v, "", fmt.Sprintf("hf-0123-p%d", i)))
		if err == nil {
			err = s.Release(ctx(t), false)
		}
		if err != nil {
			t.Errorf("run %d: %v", i, err)
			break
		}
	}
	stop()
	watcher.Wait()
	if state, reason, err := v.State(ctx(t)); err != nil || !state.Active() {
		t.Errorf("the domain is %s (%s), %v", state, reason, err)
	}
}
