package restore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// fakeDisk is a disk in memory: the blocks it has, zeros elsewhere.
type fakeDisk struct {
	info   blockstore.DiskInfo
	size   int64
	block  int64
	blocks map[int64][]byte
	bad    map[int64]bool // blocks that cannot be read
	badMap []Range        // parts of the map that cannot be read
	onRead func(off int64)
}

func newDisk(name string, size, block int64) *fakeDisk {
	return &fakeDisk{
		info: blockstore.DiskInfo{Name: name, Size: size, LogicalSector: 512, Format: "raw"},
		size: size, block: block, blocks: make(map[int64][]byte), bad: make(map[int64]bool),
	}
}

// put gives the disk a block of random bytes, with a few grains of zeros in it.
func (d *fakeDisk) put(n int64, rng *rand.Rand) {
	b := make([]byte, d.block)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	for g := 0; g < len(b)/grain; g++ {
		if rng.IntN(4) == 0 {
			clear(b[g*grain : (g+1)*grain])
		}
	}
	b[len(b)/3] = 1 // a stored block is never all zero
	if rest := d.size - n*d.block; rest < d.block {
		clear(b[rest:])
		b[0] = 1
	}
	d.blocks[n] = b
}

// randomDisk has about one block in three, in runs.
func randomDisk(name string, size, block int64, seed uint64) *fakeDisk {
	d, rng := newDisk(name, size, block), rand.New(rand.NewPCG(seed, 1))
	have := true
	for n := range ceil(size, block) {
		if rng.IntN(4) == 0 {
			have = rng.IntN(3) == 0
		}
		if have {
			d.put(n, rng)
		}
	}
	return d
}

func (d *fakeDisk) Info() blockstore.DiskInfo { return d.info }
func (d *fakeDisk) Size() int64               { return d.size }
func (d *fakeDisk) BlockSize() int            { return int(d.block) }

func (d *fakeDisk) corrupt(off, length int64) error {
	return &blockstore.CorruptError{Machine: "web1", Point: "p0123456789abcdef", Disk: d.info.Name,
		Offset: off, Length: length, Err: errors.New("flipped")}
}

func (d *fakeDisk) ReadAt(p []byte, off int64) (int, error) {
	if d.onRead != nil {
		d.onRead(off)
	}
	if off+int64(len(p)) > d.size {
		return 0, io.EOF
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		n := at / d.block
		if d.bad[n] {
			return done, d.corrupt(n*d.block, d.block)
		}
		part := p[done:min(len(p), done+int((n+1)*d.block-at))]
		if b := d.blocks[n]; b != nil {
			copy(part, b[at-n*d.block:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return len(p), nil
}

func (d *fakeDisk) Extents(ctx context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	pos, end := off, off+length
	emit := func(to int64, kind blockstore.ExtentKind) error {
		for _, r := range d.badMap {
			if pos < r.end() && to > r.Offset {
				return d.corrupt(r.Offset, r.Length)
			}
		}
		if to <= pos {
			return ctx.Err()
		}
		e := blockstore.Extent{Offset: pos, Length: to - pos, Kind: kind}
		pos = to
		return fn(e)
	}
	nums := make([]int64, 0, len(d.blocks))
	for n := range d.blocks {
		nums = append(nums, n)
	}
	slices.Sort(nums)
	for _, n := range nums {
		first, last := max(n*d.block, off), min((n+1)*d.block, end, d.size)
		if first >= last {
			continue
		}
		if err := emit(first, blockstore.Zero); err != nil {
			return err
		}
		if err := emit(last, blockstore.Data); err != nil {
			return err
		}
	}
	return emit(end, blockstore.Zero)
}

// bytes are the disk's, with zeros for what is bad.
func (d *fakeDisk) bytes() []byte {
	all := make([]byte, d.size)
	for n, b := range d.blocks {
		if !d.bad[n] {
			copy(all[n*d.block:], b)
		}
	}
	return all
}

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(needs.Tool(t, name), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// sameFile compares a file with bytes.
func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s (%d bytes) is not what was to be restored (%d bytes)", path, len(got), len(want))
	}
}

// names lists a folder, hidden names included.
func names(t *testing.T, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func wantNames(t *testing.T, folder string, want ...string) {
	t.Helper()
	if got := names(t, folder); !slices.Equal(got, want) {
		t.Fatalf("the folder holds %q, want %q", got, want)
	}
}

func toFile(d Disk, kind Kind, path string) []Job {
	return []Job{{Disk: d, Target: Spec{Kind: kind, Path: path}}}
}

// scattered is a disk with n blocks far from each other, the first and the last
// among them.
func scattered(size int64, n int) *fakeDisk {
	d, rng := newDisk("vda", size, 65536), rand.New(rand.NewPCG(7, 7))
	d.put(0, rng)
	d.put((size-1)/d.block, rng)
	for range n {
		d.put(rng.Int64N(size/d.block), rng)
	}
	return d
}

// steady returns a Progress that wants to be told ever more, and a check that it
// was told the total in the end.
func steady(t *testing.T) (progress func(done, total int64), check func()) {
	t.Helper()
	var last, all int64
	return func(done, total int64) {
			if done < last || done > total {
				t.Errorf("progress went from %d to %d of %d", last, done, total)
			}
			last, all = done, total
		}, func() {
			t.Helper()
			if last != all {
				t.Errorf("progress ended at %d of %d", last, all)
			}
		}
}
