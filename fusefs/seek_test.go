package fusefs

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// slowSeek says by bare search what lseek must answer.
func slowSeek(d *fakeDisk, off int64, whence int) (int64, error) {
	if off < 0 || off >= d.Size() {
		return 0, syscall.ENXIO
	}
	for ; off < d.Size(); off = (off/block + 1) * block {
		if d.hole[off/block] == (whence == unix.SEEK_HOLE) {
			return off, nil
		}
	}
	if whence == unix.SEEK_DATA {
		return 0, syscall.ENXIO
	}
	return d.Size(), nil
}

func TestSeekFindsTheSameHolesAsABareSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		size := r.Int64N(200*block) + 1
		d := &fakeDisk{data: make([]byte, size), hole: make([]bool, (size+block-1)/block)}
		for i := range d.hole {
			d.hole[i] = i > 0 && d.hole[i-1] != (r.IntN(8) == 0)
		}
		var s seeker
		for range 100 {
			off, whence := r.Int64N(size+block), unix.SEEK_DATA
			if r.IntN(2) == 0 {
				whence = unix.SEEK_HOLE
			}
			got, err := s.next(context.Background(), d, off, whence)
			want, werr := slowSeek(d, off, whence)
			if !errors.Is(err, werr) || (err == nil && got != want) {
				t.Fatalf("from %d (%d) of %d: %d %v, want %d %v", off, whence, size, got, err, want, werr)
			}
		}
	}
}

// vast is a disk of data whose map takes long to walk.
type vast struct {
	Disk
	size   int64
	walked *int64
}

func (d vast) Size() int64 { return d.size }

func (d vast) Extents(_ context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	*d.walked += length
	return fn(blockstore.Extent{Offset: off, Length: length})
}

func TestSeekLooksNoFurtherThanItMust(t *testing.T) {
	var walked int64
	d := vast{size: 6 << 40, walked: &walked}
	var s seeker
	if at, err := s.next(context.Background(), d, 1<<40, unix.SEEK_DATA); at != 1<<40 || err != nil {
		t.Fatal(at, err)
	}
	if walked > firstWindow {
		t.Errorf("%d bytes of map walked to see data at hand", walked)
	}
	if at, err := s.next(context.Background(), d, 1<<40, unix.SEEK_HOLE); at != d.size || err != nil {
		t.Fatal(at, err)
	}
	walked = 0
	for off := int64(1 << 40); off < d.size; off += 1 << 38 {
		if at, err := s.next(context.Background(), d, off, unix.SEEK_HOLE); at != d.size || err != nil {
			t.Fatal(at, err)
		}
	}
	if walked != 0 {
		t.Errorf("%d bytes of map walked again", walked)
	}
}

func TestSeekWorksThroughTheMount(t *testing.T) {
	v := newFakeVault()
	d := holey(2<<20+100, 1)
	v.add("web", day, d)
	m, _ := mount(t, v, Options{})
	f, err := os.Open(filepath.Join(m, "web/latest/disks/vda.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := int64(0); off <= d.Size(); off += block / 2 {
		for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
			got, err := unix.Seek(int(f.Fd()), off, whence)
			want, werr := slowSeek(d, off, whence)
			if !errors.Is(err, werr) || (err == nil && got != want) {
				t.Errorf("from %d (%d): %d %v, want %d %v", off, whence, got, err, want, werr)
			}
		}
	}
}
