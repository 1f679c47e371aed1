package xfs

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// withFeature sets incompatible features in an image's superblock.
func withFeature(t testing.TB, image string, bits uint32) {
	t.Helper()
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 512)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	be.PutUint32(b[216:], be.Uint32(b[216:])|bits)
	le.PutUint32(b[224:], crcWithout(b, 224))
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
}

// promiseImage makes a clean image with two files of several extents.
func promiseImage(t testing.TB) (image string, one, two uint64) {
	t.Helper()
	image = mkfs(t, 160)
	dir, unmount := mount(t, image, "")
	p := filler{treetest.Filler{T: t, Dir: dir}, rand.New(rand.NewPCG(3, 3)), false}
	p.File("one", p.text(60000))
	p.fragmented("two", 12)
	unmount()
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	one, err := v.Lookup(v.Root(), "one")
	if err != nil {
		t.Fatal(err)
	}
	two, err = v.Lookup(v.Root(), "two")
	if err != nil {
		t.Fatal(err)
	}
	return image, one, two
}

// firstBlock is where a file's block lies.
func firstBlock(t testing.TB, v *volume, ino, block uint64) uint64 {
	t.Helper()
	i, err := v.inode(ino)
	if err != nil {
		t.Fatal(err)
	}
	f, err := v.data(i)
	if err != nil {
		t.Fatal(err)
	}
	e, ok, err := f.find(block)
	if !ok || err != nil || e.off > block {
		t.Fatalf("block %d is a hole (%v)", block, err)
	}
	return e.start + block - e.off
}

func TestMapsThatTheLogPromisesToChangeReadAsAfterTheKernelsRecovery(t *testing.T) {
	t.Parallel()
	needKernel(t)
	image, one, two := promiseImage(t)
	w := writeLog(t, image)
	old, other := firstBlock(t, w.v, one, 3), firstBlock(t, w.v, two, 6)
	hole := firstBlock(t, w.v, two, 8)
	w.write(transactionOps(9,
		mapPromise(1, one, extent{off: 3, n: 2, start: old}, doUnmap),
		mapPromise(2, one, extent{off: 3, n: 1, start: other}, doMap),
		mapPromise(3, two, extent{off: 7, n: 1, start: hole, unwritten: true}, doMap|mapUnwrit),
		mapPromise(4, one, extent{off: 0, n: 1, start: firstBlock(t, w.v, one, 0)}, doUnmap),
		[][]byte{le.AppendUint64(le.AppendUint32(le.AppendUint16(le.AppendUint16(nil, itemMapped), 1), 0), 4)}, // was kept
	)...)
	v := treetest.OpenImage(t, Format, image, tree.Options{})
	if i := v.Info(); i.Journal != tree.Replayed || len(i.Notes) > 0 {
		t.Errorf("the volume says %+v", i)
	}
	treetest.SameLines(t, contents(exact.Ours(t, v)), contents(replayedByKernel(t, image)))
}

// contents leaves times and space out of a reading: keeping a promise is a change.
func contents(r treetest.Lines) treetest.Lines {
	for path, line := range r {
		cut := []string{}
		for field := range strings.FieldsSeq(line) {
			cut = append(cut, field)
		}
		times := slices.Index(cut, "a")
		takes := slices.Index(cut, "takes")
		r[path] = strings.Join(append(slices.Clone(cut[:takes]), cut[times+8:]...), " ")
	}
	return r
}

func TestAnExchangeThatTheLogPromisesReadsAsAfterTheKernelsRecovery(t *testing.T) {
	t.Parallel()
	needKernel(t)
	for name, flags := range map[string]uint64{"a range": 0, "only what is written": swapWritten} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			image, one, two := promiseImage(t)
			withFeature(t, image, 0x40)
			w := writeLog(t, image)
			gen := func(ino uint64) uint32 {
				i, err := w.v.inode(ino)
				if err != nil {
					t.Fatal(err)
				}
				return be.Uint32(i.b[92:])
			}
			w.write(transactionOps(9, swapPromise(1, one, two, gen(one), gen(two), 2, 5, 9, flags, 0, 0))...)
			probe := treetest.Copy(t, image, filepath.Join(filepath.Dir(image), "probe.img"))
			dir := filepath.Join(filepath.Dir(image), "probe")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			out, err := treetest.Try("mount", "-o", "loop", probe, dir)
			if err == nil {
				treetest.Run(t, "umount", dir)
			} else {
				t.Skipf("this kernel knows no exchange of ranges: %s", out)
			}
			treetest.SameLines(t, contents(exact.Ours(t, treetest.OpenImage(t, Format, image, tree.Options{}))), contents(replayedByKernel(t, image)))
		})
	}
}

// Linux 6.18 frees what lies past the old end after such a recovery, so that what
// was asked for is the measure here.
func TestAnExchangeOfWholeFilesGivesEachTheSizeOfTheOther(t *testing.T) {
	t.Parallel()
	needKernel(t)
	image, one, two := promiseImage(t)
	before := treetest.OpenImage(t, Format, image, tree.Options{})
	a, _ := before.Stat(one)
	b, _ := before.Stat(two)
	writeLog(t, image).write(transactionOps(9, swapPromise(1, one, two, 0, 0, 0, 0, 30, swapSizes, uint64(b.Size), uint64(a.Size)))...)
	after := treetest.OpenImage(t, Format, image, tree.Options{})
	sum := func(v tree.FileSystem, ino uint64, size int64) string {
		f, err := v.Open(ino)
		if err != nil {
			t.Fatal(err)
		}
		got, holes := treetest.Sum(t, "", f, size)
		return string(got) + holes
	}
	if sum(after, one, b.Size) != sum(before, two, b.Size) || sum(after, two, a.Size) != sum(before, one, a.Size) {
		t.Error("the files were not exchanged")
	}
}
