package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// writerProgram is a boot sector that never stops writing: the same number to the same
// block of the first disk and then of the second, the next number to the next block, one sector in
// each 64 KiB, round and round over 64 MiB.
func writerProgram() []byte {
	code := "\x31\xc0\x8e\xd8\x8e\xd0\xbc\x00\x7c" + // ax, ds, ss = 0; stack below us
		"\xbe\x80\x7c" + // again: the packet below says where to write
		"\xb8\x00\x43\xb2\x80\xcd\x13" + // write to the first disk
		"\xb8\x00\x43\xb2\x81\xcd\x13" + // and to the second
		"\x66\xff\x06\x00\x7e" + // next number
		"\x66\x81\x06\x88\x7c\x80\x00\x00\x00" + // next block
		"\x66\x81\x3e\x88\x7c\x00\x00\x02\x00\x72\xd6" + // unless at the end: again
		"\x66\xc7\x06\x88\x7c\x80\x00\x00\x00\xeb\xcb" // first block, again
	sector := make([]byte, 512)
	copy(sector, code)
	copy(sector[0x80:], "\x10\x00\x01\x00\x00\x7e\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00")
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

const writerBlock, writerBlocks = 64 << 10, 64<<20/(64<<10) - 1

// bootWriter starts a machine whose guest is the writer, and waits for its first rounds.
func bootWriter(t testing.TB) *vm {
	t.Helper()
	v := boot(t, func(folder string) []string {
		for _, id := range []string{"one", "two"} {
			image := make([]byte, 64<<20)
			for i := int64(1); i <= writerBlocks; i++ {
				copy(image[i*writerBlock:], "old content, to be kept")
			}
			copy(image, writerProgram())
			if err := os.WriteFile(filepath.Join(folder, id+".raw"), image, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run1(t, "qemu-img", "convert", "-O", "qcow2", filepath.Join(folder, "one.raw"), filepath.Join(folder, "one.qcow2"))
		return append(diskArgs(t, folder, "one", "qcow2", "bootindex=0"), diskArgs(t, folder, "two", "raw", "bootindex=1")...)
	})
	v.waitForWrites(1)
	return v
}

// waitForWrites waits until the guest has written so many times more.
func (v *vm) waitForWrites(n int64) {
	v.t.Helper()
	began := int64(-1)
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var stats []struct {
			Stats struct {
				Writes int64 `json:"wr_operations"`
			} `json:"stats"`
		}
		v.do("query-blockstats", nil, &stats)
		now := stats[0].Stats.Writes
		if began < 0 {
			began = now
		}
		if now >= began+n {
			return
		}
	}
	v.t.Fatal("the guest does not write")
}

// number that the writer wrote last to a block; 0: none yet, or the very first.
func number(image []byte, block int64) int64 {
	sector := image[block*writerBlock:][:512]
	if strings.HasPrefix(string(sector), "old content") {
		return -1
	}
	return int64(binary.LittleEndian.Uint32(sector))
}

// oneInstant holds two images against what the writer did: nothing may be there
// without all that was written before it.
func oneInstant(one, two []byte) error {
	var last [2]int64
	for n, image := range [][]byte{one, two} {
		place := int64(1)
		for b := int64(1); b <= writerBlocks; b++ {
			if number(image, b) > number(image, place) {
				place = b
			}
		}
		last[n] = number(image, place)
		for b := int64(1); b <= writerBlocks; b++ {
			back := (place - b + writerBlocks) % writerBlocks
			if want := max(last[n]-back, -1); number(image, b) != want {
				return fmt.Errorf("disk %d: block %d holds number %d, want %d: the last is %d in block %d", n, b, number(image, b), want, last[n], place)
			}
		}
	}
	if d := last[0] - last[1]; d != 0 && d != 1 {
		return fmt.Errorf("the disks end at %d and %d", last[0], last[1])
	}
	return nil
}

func TestAPointIsOneInstantOfAGuestThatNeverStopsWriting(t *testing.T) {
	v := bootWriter(t)
	var parents [2][]byte
	parent := ""
	for _, point := range []string{"p1", "p2", "p3"} {
		v.waitForWrites(100)
		s := v.snapshot(SnapshotRequest{Disks: both(), Parent: parent, Point: bitmapOf(point)})
		v.waitForWrites(100)
		var images [2][]byte
		for i, d := range s.Disks {
			if (d.Mode == ModeBitmap) != (parent != "") {
				t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
			}
			images[i] = content(t, d, parents[i])
			if point == "p3" {
				same(t, "all of "+d.Name, whole(t, d), images[i])
			}
		}
		if err := oneInstant(images[0], images[1]); err != nil {
			t.Errorf("%s: %v", point, err)
		}
		committed := point != "p2" // one run fails
		v.release(s, committed)
		if committed {
			parent, parents = bitmapOf(point), images
		}
	}
}

// smallScratch puts the scratch folder on a file system of its own.
func (v *vm) smallScratch(bytes string) {
	v.t.Helper()
	if os.Geteuid() != 0 {
		v.t.Skip("only root can mount a small file system")
	}
	if err := os.MkdirAll(v.scratch.Folder, 0o711); err != nil {
		v.t.Fatal(err)
	}
	if err := unix.Mount("small", v.scratch.Folder, "tmpfs", 0, "size="+bytes); err != nil {
		v.t.Skipf("mount: %v", err)
	}
	v.t.Cleanup(func() {
		if err := unix.Unmount(v.scratch.Folder, unix.MNT_DETACH); err != nil {
			v.t.Error(err)
		}
	})
}

func TestAGuestThatStoppedForAFullScratchFolderIsResumed(t *testing.T) {
	v := bootWriter(t)
	v.smallScratch("2m")
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	err := s.Watch(t.Context())
	if !v.m.features.breaksSnap && (!errors.Is(err, ErrScratch) || !strings.Contains(err.Error(), "resumed")) {
		t.Error(err)
	}
	v.waitForWrites(10)
	if err := s.Release(t.Context(), false); err != nil {
		t.Error(err)
	}
	v.nothingLeft(false, s.request)
	v.waitForWrites(10)
}

func TestASnapshotEndsBeforeItsScratchFilesStopTheGuest(t *testing.T) {
	for name, o := range map[string]ScratchOptions{
		"low-water mark": {LowWater: 100 << 20},
		"cap":            {LowWater: 1, Cap: 20 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly waits
			v := bootWriter(t)
			for _, id := range []string{"one", "two"} { // 128 blocks of 64 KiB a second on each disk
				v.do("block_set_io_throttle", object{"id": "/machine/peripheral/" + id + "/virtio-backend", "bps": 0, "bps_rd": 0, "bps_wr": 0,
					"iops": 128, "iops_rd": 0, "iops_wr": 0}, nil)
			}
			v.smallScratch("120m")
			o.Folder = v.scratch.Folder
			v.scratch = o
			s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
			err := s.Watch(t.Context())
			if !errors.Is(err, ErrScratch) || strings.Contains(err.Error(), "paused") {
				t.Error(err)
			}
			v.waitForWrites(10)
			if err := s.Release(t.Context(), false); err != nil {
				t.Error(err)
			}
			v.nothingLeft(false, s.request)

			v.scratch.LowWater = 121 << 20
			if _, err := v.m.Snapshot(t.Context(), SnapshotRequest{Disks: both(), Point: bitmapOf("p1"), Scratch: v.scratch}); !errors.Is(err, ErrScratch) {
				t.Error(err)
			}
			v.nothingLeft(false, s.request)
		})
	}
}
