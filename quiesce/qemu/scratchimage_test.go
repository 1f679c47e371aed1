package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestAnEmptyScratchImageIsOneThatQEMUFindsWholeAtAnySize(t *testing.T) {
	needs.Tools(t, "qemu-img")
	for _, size := range []int64{0, 1, 512, 64 << 20, 512<<20 + 1, 1 << 40, 8 << 40, 2 << 50} {
		path := filepath.Join(t.TempDir(), "scratch")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		err = writeScratchImage(f, size)
		f.Close()
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", path).CombinedOutput(); err != nil {
			t.Errorf("%d bytes: check: %v: %s", size, err, out)
		}
		var info struct {
			Size int64 `json:"virtual-size"`
		}
		out, err := exec.Command("qemu-img", "info", "-f", "qcow2", "--output=json", path).Output()
		if err != nil || json.Unmarshal(out, &info) != nil || info.Size != (size+511)/512*512 {
			t.Errorf("%d bytes: QEMU sees %d, %v", size, info.Size, err)
		}
		if out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -z 0 %d", info.Size), "-c", fmt.Sprintf("write %d %d", max(info.Size-4096, 0), min(info.Size, 4096)), path).CombinedOutput(); err != nil && size < 1<<40 {
			t.Errorf("%d bytes: write: %v: %s", size, err, out)
		}
	}
	if err := writeScratchImage(nil, 2<<50+1); err == nil {
		t.Error("an image is made that QEMU would not open")
	}
}

// TestWhoeverLooksAtTheNodesMeanwhileDoesNotKillQEMU has a second monitor list the nodes all the
// while: libvirt does that for its statistics. A node of qcow2 that is still being opened ends QEMU then.
func TestWhoeverLooksAtTheNodesMeanwhileDoesNotKillQEMU(t *testing.T) {
	v := boot(t, func(folder string) []string {
		return append(diskArgs(t, folder, "one", "qcow2"), diskArgs(t, folder, "two", "raw")...)
	})
	ctx, stop := context.WithCancel(t.Context())
	looked := make(chan error)
	go func() {
		for ctx.Err() == nil {
			if err := v.hand.Do(t.Context(), "query-named-block-nodes", object{"flat": true}, nil); err != nil {
				looked <- err
				return
			}
		}
		looked <- nil
	}()
	for i := range 20 {
		disks, err := v.m.Disks(t.Context())
		if err != nil {
			t.Error(err)
			break
		}
		q := SnapshotRequest{Point: BitmapName("0123", fmt.Sprintf("p%d", i)), Scratch: v.scratch}
		for _, d := range disks {
			q.Disks = append(q.Disks, DiskRequest{Name: d.Name})
		}
		s, err := v.m.Snapshot(t.Context(), q)
		if err == nil {
			err = s.Release(t.Context(), true)
		}
		if err != nil {
			t.Errorf("run %d: %v", i, err)
			break
		}
	}
	stop()
	if err := <-looked; err != nil {
		t.Errorf("QEMU ended: %v: %s", err, v.said)
	}
}
