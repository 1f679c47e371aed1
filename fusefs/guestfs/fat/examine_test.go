package fat

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// counted counts what is read of a volume.
type counted struct {
	r            io.ReaderAt
	calls, bytes atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.calls.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.r.ReadAt(p, off)
}

const (
	maxEntries  = 50_000 // that a mutant of a volume with some dozens may list in all
	maxCalls    = 200_000
	maxRead     = 4 << 30
	readOfAFile = 256 << 10
)

// examine calls everything that a volume has, whatever it answers, each folder
// once, and fails when that is without end.
func examine(t testing.TB, b []byte) (files, failed int) {
	t.Helper()
	c := &counted{r: bytes.NewReader(b)}
	Format.Probe(c, int64(len(b)))
	v, err := Format.Open(c, int64(len(b)), tree.Options{Memory: 1 << 20})
	if err != nil {
		return 0, 1
	}
	if _, err := v.(tree.Counter).CountUsed(); err != nil {
		failed++
	}
	seen, entries, queue := map[uint64]bool{}, 0, []uint64{v.Root()}
	for len(queue) > 0 {
		ino := queue[0]
		queue = queue[1:]
		files++
		a, err := v.Stat(ino)
		if err != nil {
			failed++
			continue
		}
		if a.Mode&unix.S_IFMT != unix.S_IFDIR {
			failed += touch(v, a)
			continue
		}
		if seen[ino] {
			continue
		}
		seen[ino] = true
		for e, err := range v.ReadDir(ino) {
			if entries++; entries > maxEntries {
				t.Fatalf("%d entries so far, the last is %q of %d", entries, e.Name, ino)
			}
			if err != nil {
				failed++
				continue
			}
			_, _ = v.Lookup(ino, e.Name)
			queue = append(queue, e.Ino)
		}
	}
	if c.calls.Load() > maxCalls || c.bytes.Load() > maxRead {
		t.Fatalf("%d reads of %d bytes", c.calls.Load(), c.bytes.Load())
	}
	return files, failed
}

func touch(v tree.FileSystem, a tree.Attr) (failed int) {
	f, err := v.Open(a.Ino)
	if err != nil {
		return 1
	}
	b := make([]byte, max(min(readOfAFile, a.Size+1), 1))
	for _, at := range []int64{0, a.Size / 2, a.Size - 100} {
		if _, err := f.ReadAt(b, max(at, 0)); err != nil && err != io.EOF {
			failed++
		}
	}
	return failed
}

// smallImage is a volume with files in pieces and folders below each other.
func smallImage(t testing.TB, kib int64, options ...string) []byte {
	image := makeFAT(t, kib, options...)
	dir := t.TempDir()
	for _, name := range []string{"a.txt", "dir/b long name of a file.txt", "dir/sub/c", "dir/sub/sub/d.d", "large"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		n := 3000
		if name == "large" {
			n = 60_000
		}
		if err := os.WriteFile(path, random(n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tool(t, "mcopy", "-i", image, "-s", filepath.Join(dir, "a.txt"), filepath.Join(dir, "dir"), filepath.Join(dir, "large"), "::")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mutate changes bytes as edits tell, four for each: where among what is not
// zero, and what. Most are near the beginning, where boot sector and tables are.
func mutate(b []byte, where []int, edits []byte) []byte {
	b = bytes.Clone(b)
	for ; len(edits) >= 4; edits = edits[4:] {
		at := where[(int(edits[0])<<8|int(edits[1]))%len(where)]
		if edits[3]&1 != 0 {
			at = where[(int(edits[0])<<8|int(edits[1]))%min(len(where), 700)]
		}
		if edits[3]&2 != 0 {
			at = min(at+int(edits[3]>>2), len(b)-1)
		}
		b[at] = edits[2]
	}
	return b
}

func places(b []byte) (where []int) {
	for i, c := range b {
		if c != 0 {
			where = append(where, i)
		}
	}
	return where
}

// kinds are small volumes of each kind.
func kinds(t testing.TB) [][]byte {
	return [][]byte{smallImage(t, 300, "-F", "12"), smallImage(t, 4300, "-F", "16", "-s", "1"), smallImage(t, 34000, "-F", "32", "-s", "1")}
}

// TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd examines some hundred of them; their chance is fixed.
func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	chance := rand.NewChaCha8([32]byte{7})
	failed := 0
	for i, b := range kinds(t) {
		if files, bad := examine(t, b); bad > 0 || files != 9 {
			t.Fatalf("%d files, %d failed of a volume that is whole", files, bad)
		}
		where := places(b)
		for range []int{200, 100, 20}[i] {
			edits := make([]byte, 4*(1+chance.Uint64()%30))
			chance.Read(edits)
			if _, bad := examine(t, mutate(b, where, edits)); bad > 0 {
				failed++
			}
		}
	}
	if failed < 50 {
		t.Errorf("only %d of the mutants were damaged: the test proves nothing", failed)
	}
}

// FuzzVolume examines mutants of volumes of each kind.
func FuzzVolume(f *testing.F) {
	all := kinds(f)[:2] // FAT32 takes 32 MiB a time
	var where [][]int
	for _, b := range all {
		where = append(where, places(b))
	}
	f.Add(uint8(0), []byte{0, 5, 200, 1})
	f.Add(uint8(1), []byte{0, 90, 7, 1, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if len(edits) > 400 {
			return
		}
		i := int(which) % len(all)
		examine(t, mutate(all[i], where[i], edits))
	})
}

// TestManyMayReadAtOnce reads one open file, and looks up names, from several
// goroutines; the race detector looks on.
func TestManyMayReadAtOnce(t *testing.T) {
	t.Parallel()
	v := openBytes(t, smallImage(t, 4300, "-F", "16", "-s", "1"), tree.Options{})
	f, err := v.Open(find(t, v, "large"))
	if err != nil {
		t.Fatal(err)
	}
	want := random(60_000)
	var group errgroup.Group
	for i := range 4 {
		group.Go(func() error {
			p := make([]byte, 30_000)
			if _, err := f.ReadAt(p, int64(i)*10_000); err != nil || !bytes.Equal(p, want[i*10_000:][:30_000]) {
				return fmt.Errorf("read %d: %v", i, err)
			}
			ino, err := v.Lookup(v.Root(), "A.TXT")
			if err != nil {
				return err
			}
			_, err = v.Stat(ino)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
