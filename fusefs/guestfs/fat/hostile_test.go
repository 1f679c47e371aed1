package fat

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// smallFiles are those of a small image.
var smallFiles = []string{"a.txt", "dir/b long name of a file.txt", "dir/sub/c", "dir/sub/sub/d.d", "large"}

// smallImage is a volume with files in pieces and folders below each other.
func smallImage(t testing.TB, kib int64, options ...string) []byte {
	t.Helper()
	image := makeFAT(t, kib, options...)
	dir := t.TempDir()
	for _, name := range smallFiles {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		n := 3000
		if name == "large" {
			n = 60_000
		}
		if err := os.WriteFile(path, treetest.Random(n, 0), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	treetest.Run(t, "mcopy", "-i", image, "-s", filepath.Join(dir, "a.txt"), filepath.Join(dir, "dir"), filepath.Join(dir, "large"), "::")
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// structures is where a small image holds something that is not a file's content.
func structures(t testing.TB, b []byte) []int {
	t.Helper()
	v := openBytes(t, b, tree.Options{})
	b = bytes.Clone(b)
	for _, path := range smallFiles {
		f, err := v.Open(treetest.Find(t, v, strings.Split(path, "/")...))
		if err != nil {
			t.Fatal(err)
		}
		for p, err := range f.(tree.Placed).Places() {
			if err != nil {
				t.Fatal(err)
			}
			clear(b[p.At:][:p.Len])
		}
	}
	return treetest.Places(b)
}

// kinds are small volumes of each kind.
func kinds(t testing.TB) [][]byte {
	return [][]byte{smallImage(t, 300, "-F", "12"), smallImage(t, 4300, "-F", "16", "-s", "1"), smallImage(t, 34000, "-F", "32", "-s", "1")}
}

func TestNoMutantOfAVolumePanicsOrGoesOnWithoutEnd(t *testing.T) {
	t.Parallel()
	damaged := 0
	for i, b := range kinds(t) {
		if files, _ := treetest.Examine(t, Format, b); files != 9 {
			t.Fatalf("%d files of a volume that is whole", files)
		}
		damaged += treetest.Mutants(t, Format, b, structures(t, b), []int{200, 100, 20}[i], nil)
	}
	if damaged < 100 {
		t.Errorf("only %d of the mutants were damaged: the test proves nothing", damaged)
	}
}

// FuzzVolume examines mutants of volumes of each kind.
func FuzzVolume(f *testing.F) {
	all := kinds(f)[:2] // FAT32 takes 32 MiB a time
	var where [][]int
	for _, b := range all {
		where = append(where, structures(f, b))
	}
	f.Add(uint8(0), []byte{0, 0, 5, 200, 1})
	f.Add(uint8(1), []byte{0, 0, 90, 7, 1, 0, 2, 0, 255, 2})
	f.Fuzz(func(t *testing.T, which uint8, edits []byte) {
		if len(edits) > 400 {
			return
		}
		i := int(which) % len(all)
		treetest.Examine(t, Format, treetest.Mutate(all[i], where[i], edits))
	})
}

// TestManyMayReadAtOnce reads one open file, and looks up names, from several
// goroutines; the race detector looks on.
func TestManyMayReadAtOnce(t *testing.T) {
	t.Parallel()
	v := openBytes(t, smallImage(t, 4300, "-F", "16", "-s", "1"), tree.Options{})
	f, err := v.Open(treetest.Find(t, v, "large"))
	if err != nil {
		t.Fatal(err)
	}
	want := treetest.Random(60_000, 0)
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
