package qemu

import (
	"bytes"
	"testing"
)

func twoDisks(t testing.TB) func(string) []string {
	return func(folder string) []string {
		return append(diskArgs(t, folder, "one", "qcow2"), diskArgs(t, folder, "two", "raw")...)
	}
}

func both() []DiskRequest {
	return []DiskRequest{{Name: "vda"}, {Name: "vdb"}}
}

// fill makes what a disk holds after a write, beside the write itself.
func (v *vm) fill(disk string, at, n int64, b byte, image []byte) {
	v.t.Helper()
	v.io(disk, "write -P "+hexByte(b)+" "+dec(at)+" "+dec(n))
	if image != nil {
		copy(image[at:at+n], bytes.Repeat([]byte{b}, int(n)))
	}
}

func TestASnapshotHoldsAllDisksAtOneInstantWhileTheGuestWrites(t *testing.T) {
	v := boot(t, twoDisks(t))
	one, two := make([]byte, 64<<20), make([]byte, 64<<20)
	v.fill("one", 0, 3<<20, 0x11, one)
	v.fill("two", 1<<20, 5<<20, 0x22, two)
	v.fill("two", 60<<20, 4<<20, 0x23, two)

	parents := [][]byte{bytes.Clone(one), bytes.Clone(two)}
	s := v.snapshot(SnapshotRequest{Disks: both(), Point: bitmapOf("p1")})
	v.fill("one", 1<<20, 1<<20, 0xee, nil)
	v.fill("one", 40<<20, 1<<20, 0xee, nil)
	v.fill("two", 2<<20, 100<<10, 0xee, nil)
	v.fill("two", 63<<20, 1<<20, 0xee, nil)
	for i, want := range [][]byte{one, two} {
		d := s.Disks[i]
		if d.Mode != ModeScan || d.Reason == "" {
			t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
		}
		same(t, d.Name, content(t, d, nil), want)
		same(t, d.Name+" read whole", whole(t, d), want)
	}
	v.release(s, true)
	v.fill("one", 1<<20, 1<<20, 0xee, one)
	v.fill("one", 40<<20, 1<<20, 0xee, one)
	v.fill("two", 2<<20, 100<<10, 0xee, two)
	v.fill("two", 63<<20, 1<<20, 0xee, two)

	// The second point reads what changed only.
	v.fill("one", 10<<20, 64<<10, 0x33, one)
	v.io("two", "discard 1M 1M")
	clear(two[1<<20 : 2<<20])
	s = v.snapshot(SnapshotRequest{Disks: both(), Parent: bitmapOf("p1"), Point: bitmapOf("p2")})
	v.fill("one", 10<<20, 1<<20, 0xdd, nil)
	for i, want := range [][]byte{one, two} {
		d := s.Disks[i]
		if d.Mode != ModeBitmap || d.Reason != "" {
			t.Errorf("%s: %s, %q", d.Name, d.Mode, d.Reason)
		}
		same(t, d.Name, content(t, d, parents[i]), want)
		if n := dataBytes(t, d); n > 4<<20 {
			t.Errorf("%s: %d bytes to read", d.Name, n)
		}
	}
	v.release(s, true)
}
