package xfs

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// base is a real image that mutants are made of.
type base struct {
	image []byte
	super *super
	where []int64
}

func bases(t testing.TB) (all []base) {
	t.Helper()
	for _, name := range []string{"v5-ci", "v5-dirty", "v4", "v4-dirty"} {
		image, _ := fixture(t, name)
		s, err := parseSuper(image[:sectorSize], 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, base{image, s, places(image)})
	}
	return all
}

// mutant reads all of an image that was changed as data says.
func (b base) mutant(t testing.TB, data []byte) {
	e := &edited{base: b.image, pages: map[int64][]byte{}}
	e.edit(b.super, b.where, data[:min(len(data), 8*200)])
	readAll(t, e, int64(len(b.image)), tree.Options{Memory: 16 << 20})
}

// FuzzImages changes real images, makes their checksums right again and reads all
// that is left.
func FuzzImages(f *testing.F) {
	all := bases(f)
	for i := range 8 {
		f.Add(uint8(i), []byte{0, 0, byte(i), 4, byte(i), 7, 7, 7})
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) { all[int(which)%len(all)].mutant(t, data) })
}

// The child has a deadline, and what it took of memory is known when it is gone.
func TestMutantsOfRealImagesNeitherHangNorTakeMuchMemory(t *testing.T) {
	t.Parallel()
	const child = "XFS_MUTANTS"
	if os.Getenv(child) != "" {
		all := bases(t)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range mutants {
			b := make([]byte, 8*(1+r.IntN(60)))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			all[i%len(all)].mutant(t, b)
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestMutantsOfRealImages", "-test.count", "1")
	c.Env = append(os.Environ(), child+"=1", "GOMEMLIMIT=400MiB")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%.3000s", err, out)
	}
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	const images = 4 * 40 << 20
	if took := usage.Maxrss << 10; !ok || !raced && took > images+(256<<20) {
		t.Errorf("it took %d MiB, of which the images are %d", took>>20, images>>20)
	} else {
		t.Logf("it took %d MiB, of which the images are %d", took>>20, images>>20)
	}
}

// FuzzPieces decodes what lies in an inode or a log, of which any byte may be
// anything.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("IN"), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, kind uint8) {
		v := &volume{super: super{block: 4096, inode: 512, agBlocks: 1000, agCount: 1, agBlockLog: 10, inoBlockLog: 3, blocks: 1000, dirBlock: 4096, v5: kind&1 != 0, fileTypes: kind&2 != 0}, cache: newCache(1 << 20)}
		fork := &fork{v: v, what: "piece", local: b}
		d := &directory{fork, v, &inode{}}
		d.short(func(dirEntry) bool { return true })
		fork.eachAttribute(func(attribute) bool { return true })
		fork.acl(b)
		fork.extents(b[:len(b)/16*16], 0)
		fork.mapRoot(b)
		parseSuper(b, 0)
		_ = hashName(string(b))
		for _, format := range []byte{formatLocal, formatExtents, formatTree} {
			fork.fill(b, format, uint64(len(b)/16))
		}
	})
}
