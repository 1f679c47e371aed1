package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// TestMain is also the child that is killed in the middle of a run.
func TestMain(m *testing.M) {
	if phase := os.Getenv("HOLDFAST_TEST_PHASE"); phase != "" {
		fmt.Println(child(phase))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// child runs up to a phase, says so, and waits to be killed.
func child(phase string) error {
	ctx := context.Background()
	mon, err := qmp.Dial(ctx, os.Getenv("HOLDFAST_TEST_MONITOR"))
	if err != nil {
		return err
	}
	m, err := Open(ctx, mon, Options{})
	if err != nil {
		return err
	}
	reached := func(at string) {
		if at == phase {
			fmt.Println("reached")
			select {}
		}
	}
	s, err := m.Snapshot(ctx, SnapshotRequest{
		Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2"),
		Scratch: ScratchOptions{Folder: os.Getenv("HOLDFAST_TEST_SCRATCH"), LowWater: 1},
		Hold: func(ctx context.Context, during func(context.Context) error) error {
			reached("held")
			err := during(ctx)
			reached("fixed")
			return err
		},
	})
	if err != nil {
		return err
	}
	reached("exported")
	go func() {
		for buf := make([]byte, 1<<20); ; {
			s.Disks[0].ReadAt(buf, 0)
		}
	}()
	reached("read")
	reached("committed")
	s.Release(ctx, true)
	reached("released")
	return nil
}

func TestARunThatWasKilledHealsInTheNext(t *testing.T) {
	for _, phase := range []string{"held", "fixed", "exported", "read", "committed", "released"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			v := boot(t, twoDisks(t))
			images := [][]byte{make([]byte, 64<<20), make([]byte, 64<<20)}
			v.fill("one", 0, 1<<20, 0x11, images[0])
			v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
			parents := [][]byte{bytes.Clone(images[0]), bytes.Clone(images[1])}
			v.fill("one", 2<<20, 1<<20, 0x22, images[0])
			v.mon.Close()

			v.killAt(phase)
			v.fill("one", 4<<20, 1<<20, 0x33, images[0])
			v.fill("two", 4<<20, 1<<20, 0x33, images[1])
			v.mon = v.dial(filepath.Join(v.folder, "a"))
			v.reopen()
			parent := bitmapOf("p1")
			if phase == "committed" || phase == "released" { // so the point is there
				parent = bitmapOf("p2")
				copy(parents[0], images[0][:4<<20])
			}
			s := v.snapshot(SnapshotRequest{Disks: both(), Parent: parent, Point: bitmapOf("p3")})
			for i, d := range s.Disks {
				if d.Mode != ModeBitmap {
					t.Errorf("%s: %s", d.Name, d.Reason)
				}
				same(t, d.Name, content(t, d, parents[i]), images[i])
			}
			v.release(s, true)
		})
	}
}

func (v *vm) killAt(phase string) {
	v.t.Helper()
	self, err := os.Executable()
	if err != nil {
		v.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_PHASE="+phase, "HOLDFAST_TEST_MONITOR="+filepath.Join(v.folder, "a"),
		"HOLDFAST_TEST_SCRATCH="+v.scratch.Folder)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		v.t.Fatal(err)
	}
	said := make([]byte, 8)
	io.ReadFull(out, said)
	rest := ""
	if !strings.HasPrefix(string(said), "reached") {
		b, _ := io.ReadAll(out)
		rest = string(b)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if rest != "" {
		v.t.Fatalf("the child did not get to %s: %s%s", phase, said, rest)
	}
}

func TestQEMUThatDiesEndsTheSnapshotCleanly(t *testing.T) {
	for name, end := range map[string]func(v *vm){
		"killed":      func(v *vm) { v.cmd.Process.Kill() },
		"powered off": func(v *vm) { v.hand.Do(context.Background(), "quit", nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := boot(t, twoDisks(t))
			v.fill("one", 0, 1<<20, 0x11, nil)
			v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
			v.io("one", "write -P 0x22 1M 1M")
			s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
			v.io("one", "write -P 0x33 2M 1M")
			end(v)
			if err := s.Watch(t.Context()); !errors.Is(err, ErrGone) {
				t.Error(err)
			}
			if err := s.Release(t.Context(), false); err != nil {
				t.Error(err)
			}
			if left, _ := os.ReadDir(v.scratch.Folder); len(left) > 0 {
				t.Errorf("left: %v", left)
			}

			// The next run is right, whatever it can believe.
			v.start(twoDisks(t)(v.folder)...)
			s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p3")})
			want := make([]byte, 64<<20)
			for i, b := range []byte{0x11, 0x22, 0x33} {
				copy(want[i<<20:(i+1)<<20], bytes.Repeat([]byte{b}, 1<<20))
			}
			parent := bytes.Clone(want)
			clear(parent[1<<20:])
			same(t, "vda", content(t, s.Disks[0], parent), want)
			for i, mode := range map[string][]Mode{"killed": {ModeScan, ModeScan}, "powered off": {ModeBitmap, ModeScan}}[name] {
				if d := s.Disks[i]; d.Mode != mode || (d.Reason == "") != (mode == ModeBitmap) {
					t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
				}
			}
			v.release(s, true)
			s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p3"), Point: bitmapOf("p4")})
			for _, d := range s.Disks {
				if d.Mode != ModeBitmap {
					t.Errorf("%s: %s", d.Name, d.Reason)
				}
			}
			v.release(s, true)
		})
	}
}

// A bitmap that QEMU has loaded from its image, and did not come to save, is of no use.
func TestABitmapThatWasNotSavedMeansAScan(t *testing.T) {
	v := boot(t, twoDisks(t))
	v.release(v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")}), true)
	ended := func(end func()) {
		end()
		for range v.mon.Events() {
		}
		v.start(twoDisks(t)(v.folder)...)
	}
	ended(func() { v.hand.Do(context.Background(), "quit", nil, nil) })
	v.io("one", "write -P 1 0 64k")
	ended(func() { v.cmd.Process.Kill() })
	s := v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	if d := s.Disks[0]; d.Mode != ModeScan || d.Reason != inconsistent {
		t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
	}
	v.release(s, true)
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p2"), Point: bitmapOf("p3")})
	if d := s.Disks[0]; d.Mode != ModeBitmap {
		t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
	}
	v.release(s, true)
}
