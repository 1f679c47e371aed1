package fusefs

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// countingVault counts the reads of its disks.
type countingVault struct {
	*fakeVault
	reads atomic.Int64
}

type countingDisk struct {
	Disk
	v *countingVault
}

func (v *countingVault) OpenDisk(p *blockstore.Point, disk string) (Disk, error) {
	d, err := v.fakeVault.OpenDisk(p, disk)
	return countingDisk{d, v}, err
}

func (d countingDisk) ReadAt(p []byte, off int64) (int, error) {
	d.v.reads.Add(1)
	return d.Disk.ReadAt(p, off)
}

func TestTheKernelKeepsABlockWhoseSecondPageWasReadAndServesTheOthers(t *testing.T) {
	const pages, blocks = block / 4096, 50
	data := make([]byte, blocks*block-5000) // the last block is cut short
	rand.NewChaCha8([32]byte{2}).Read(data)
	v := &countingVault{fakeVault: newFakeVault()}
	v.add("web", day, newFakeDisk(data))
	m, _ := mount(t, v, Options{})
	fd, err := unix.Open(filepath.Join(m, "web/latest/disks/vda.raw"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	read := func(page int) {
		t.Helper()
		buf := make([]byte, 4096)
		n, err := unix.Pread(fd, buf, int64(page)*4096)
		if want := data[page*4096 : min(len(data), (page+1)*4096)]; err != nil || !bytes.Equal(buf[:n], want) {
			t.Fatalf("page %d: %d bytes that differ from the disk's: %v", page, n, err)
		}
	}
	served, pause := 0, 5*time.Millisecond
	for b := blocks - 1; b >= 0 && (served == 0 || b > blocks/2); b-- {
		before := v.reads.Load()
		read(b*pages + 3)
		read(b*pages + 9)
		time.Sleep(pause) // the kernel takes the rest when it is time
		for p := range pages {
			if (b*pages+p)*4096 < len(data) {
				read(b*pages + p)
			}
		}
		if v.reads.Load() == before+2 {
			served++
		} else {
			pause = min(2*pause, time.Second)
		}
	}
	if served == 0 {
		t.Error("no block of which two pages were read was kept by the kernel")
	}
}

func TestASecondPartIsSeenOnceForEachBlock(t *testing.T) {
	t.Parallel()
	f, asked := newFiller(block), &fillsAsked{}
	for i, c := range []struct {
		off  int64
		n    int
		want bool
	}{
		{0, 4096, false}, {4096, 4096, true}, {8192, 4096, false}, // once
		{block, block, false}, {block, 4096, false}, {block + 8192, 8192, true}, // whole blocks do not count
		{3*block - 4096, 8192, false}, {2 * block, 4096, false}, // nor what lies in two
		{fillSlots * block, 4096, false}, {0, 4096, false}, {4096, 4096, true}, // forgotten for another far away
	} {
		if got := f.wants(asked, c.off, c.n); got != c.want {
			t.Errorf("read %d, of %d bytes at %d: %v, want %v", i, c.n, c.off, got, c.want)
		}
	}
}
