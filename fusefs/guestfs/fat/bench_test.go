package fat

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// BenchmarkWalk stats 4,000 files of a volume that was just opened, each looked up by its name.
func BenchmarkWalk(b *testing.B) {
	image := makeFAT(b, 64<<10, "-F", "32", "-s", "1")
	dir := b.TempDir()
	for i := range 4000 {
		path := filepath.Join(dir, "all", fmt.Sprintf("folder %03d/file number %05d.txt", i/1000, i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, treetest.Random(i%700, 0), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	treetest.Run(b, "mcopy", "-i", image, "-s", filepath.Join(dir, "all"), "::")
	for b.Loop() {
		v := treetest.OpenImage(b, Format, image, tree.Options{})
		files := 0
		for queue := []uint64{v.Root()}; len(queue) > 0; queue = queue[1:] {
			for e, err := range v.ReadDir(queue[0]) {
				if err != nil {
					b.Fatal(err)
				}
				ino, err := v.Lookup(queue[0], e.Name)
				if err != nil {
					b.Fatal(err)
				}
				a, err := v.Stat(ino)
				if err != nil {
					b.Fatal(err)
				}
				if files++; a.Mode&unix.S_IFMT == unix.S_IFDIR {
					queue = append(queue, ino)
				}
			}
		}
		if files != 4005 {
			b.Fatalf("%d files", files)
		}
	}
}

// BenchmarkRead reads a file of 64 MiB in pieces of 1 MiB.
func BenchmarkRead(b *testing.B) {
	const size = 64 << 20
	image := makeFAT(b, 128<<10, "-F", "32", "-s", "1")
	path := filepath.Join(b.TempDir(), "LARGE.BIN")
	if err := os.WriteFile(path, treetest.Random(size, 0), 0o644); err != nil {
		b.Fatal(err)
	}
	treetest.Run(b, "mcopy", "-i", image, path, "::")
	v := treetest.OpenImage(b, Format, image, tree.Options{})
	ino, err := v.Lookup(v.Root(), "large.bin")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		f, err := v.Open(ino)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(f, 0, size), make([]byte, 1<<20))
		if err != nil || n != size {
			b.Fatal(n, err)
		}
	}
}
