package squashfs

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// small is a volume whose tables are not compressed, so that mutants reach them.
func small(t testing.TB, options ...string) []byte {
	dir := sources(t, 20)
	for _, name := range []string{"text", "noise", "blocks", "mixed", "a/hard link"} {
		must(t, os.Remove(filepath.Join(dir, name)))
	}
	write(t, filepath.Join(dir, "text"), text(60_000))
	return treetest.Load(t, makeImage(t, dir, append([]string{"-b", "8K"}, options...)...))
}

func TestAnImplausibleSuperblockIsRefused(t *testing.T) {
	t.Parallel()
	whole := small(t)
	for name, damage := range map[string]func(b []byte){
		"magic":            func(b []byte) { b[0]++ },
		"version 3":        func(b []byte) { b[28] = 3 },
		"blocks of 0":      func(b []byte) { clear(b[12:16]) },
		"blocks of 2 MiB":  func(b []byte) { le.PutUint32(b[12:], 2<<20); b[22] = 21 },
		"blocks of 2^200":  func(b []byte) { b[22] = 200 },
		"inodes of beyond": func(b []byte) { le.PutUint64(b[64:], 1<<40) },
		"owners of beyond": func(b []byte) { le.PutUint64(b[48:], 1<<63) },
		"folders at 0":     func(b []byte) { clear(b[72:80]) },
		"compression 9":    func(b []byte) { b[20] = 9 },
	} {
		b := bytes.Clone(whole)
		damage(b)
		if _, err := Format.Open(bytes.NewReader(b), int64(len(b)), tree.Options{}); !treetest.IsDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for size := range superSize {
		if Format.Probe(bytes.NewReader(whole[:size]), int64(size)) {
			t.Fatalf("%d bytes are taken for one", size)
		}
	}
}

func TestADamagedBlockIsDamageOfItsFileAlone(t *testing.T) {
	t.Parallel()
	b := small(t)
	v := openBytes(t, b, tree.Options{})
	ino, other := treetest.Find(t, v, "text"), treetest.Find(t, v, "small")
	n, err := v.inode(ino)
	must(t, err)
	for i := range 20 {
		b[n.start+int64(i)] ^= 0x55
	}
	v = openBytes(t, b, tree.Options{})
	for of, damaged := range map[uint64]bool{ino: true, other: false} {
		f, err := v.Open(of)
		must(t, err)
		if _, err := f.ReadAt(make([]byte, 8), 0); treetest.IsDamage(err) != damaged {
			t.Errorf("inode %d: %v", of, err)
		}
	}
}

// TestGarbageIsNoBlockOfAnyCompression: none panics, and none writes more than a block.
func TestGarbageIsNoBlockOfAnyCompression(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewChaCha8([32]byte{3}))
	for method := range 8 {
		d, err := newDecoder(method)
		if err != nil {
			continue
		}
		for range 3000 {
			src := make([]byte, chance.IntN(60))
			for i := range src {
				src[i] = byte(chance.Uint32())
			}
			dst := make([]byte, 100, 200)
			if n, _ := d(dst, src); n > len(dst) || !bytes.Equal(dst[100:200], make([]byte, 100)) {
				t.Fatalf("method %d wrote %d bytes of %x", method, n, src)
			}
		}
	}
}

func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	for _, options := range [][]string{{"-noI", "-noId", "-noX", "-noF"}, {"-comp", "lzo"}} {
		b := small(t, options...)
		if damaged := treetest.Mutants(t, Format, b, treetest.Places(b), 80, nil); damaged < 30 {
			t.Errorf("only %d of the mutants were damaged: the test proves nothing", damaged)
		}
	}
}

// FuzzVolume examines mutants of volumes.
func FuzzVolume(f *testing.F) {
	all := [][]byte{small(f, "-noI", "-noId", "-noX", "-noF"), small(f, "-comp", "lzo"), small(f, "-comp", "xz")}
	f.Add(uint8(0), []byte{0, 0, 5, 200, 1})
	f.Add(uint8(1), []byte{0, 9, 90, 7, 0, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if b := all[int(which)%len(all)]; len(edits) <= 400 {
			treetest.Examine(t, Format, treetest.Mutate(b, treetest.Places(b), edits))
		}
	})
}

func TestManyMayReadAtOnce(t *testing.T) {
	t.Parallel()
	v := openBytes(t, small(t, "-comp", "zstd"), tree.Options{})
	f, err := v.Open(treetest.Find(t, v, "text"))
	must(t, err)
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error {
			p := make([]byte, 30_000)
			if _, err := f.ReadAt(p, int64(i)*10_000); err != nil && err != io.EOF {
				return err
			}
			if !bytes.Equal(p, text(60_000)[i*10_000:][:30_000]) {
				return errors.New("it is not what was written")
			}
			_, err := v.Lookup(v.Root(), "small")
			return err
		})
	}
	must(t, group.Wait())
}
