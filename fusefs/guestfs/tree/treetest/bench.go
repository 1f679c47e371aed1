package treetest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Walk visits all of a tree as find -printf does, and counts.
func Walk(b *testing.B, v tree.FileSystem) (n int) {
	b.Helper()
	for queue := []uint64{v.Root()}; len(queue) > 0; queue = queue[1:] {
		for e, err := range v.ReadDir(queue[0]) {
			if err != nil {
				b.Fatal(err)
			}
			a, err := v.Stat(e.Ino)
			if err != nil {
				b.Fatal(err)
			}
			if n++; a.Mode&unix.S_IFMT == unix.S_IFDIR {
				queue = append(queue, e.Ino)
			}
		}
	}
	return n
}

// Small is how many entries [MakeSmall] makes.
const Small = 10_500

// MakeSmall makes 10,000 small files in 500 folders.
func MakeSmall(b *testing.B, dir string) {
	b.Helper()
	for i := range 500 {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%d", i)), 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 20 {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("d%d/f%d", i, j)), []byte("x"), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchWalk opens a volume and walks it, and expects so many entries.
func BenchWalk(b *testing.B, format tree.Format, r io.ReaderAt, size int64, entries int) {
	b.Helper()
	for b.Loop() {
		v, err := format.Open(r, size, tree.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if n := Walk(b, v); n != entries {
			b.Fatalf("%d entries", n)
		}
	}
}

// BenchWalkBesideFind walks the files of [MakeSmall] in an image, beside find on a fresh mount of the kernel's.
func BenchWalkBesideFind(b *testing.B, format tree.Format, image string, mount func() (dir string, unmount func())) {
	b.Helper()
	all := Load(b, image)
	b.Run("here", func(b *testing.B) {
		BenchWalk(b, format, bytes.NewReader(all), int64(len(all)), Small)
	})
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dir, unmount := mount()
			b.StartTimer()
			Run(b, "find", dir, "-printf", "%s")
			b.StopTimer()
			unmount()
			b.StartTimer()
		}
	})
}

// BenchRead reads so many bytes of a file in the root of a volume, beside the volume itself.
func BenchRead(b *testing.B, format tree.Format, r io.ReaderAt, length int64, name string, size int64) {
	b.Helper()
	v, err := format.Open(r, length, tree.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ino, err := v.Lookup(v.Root(), name)
	if err != nil {
		b.Fatal(err)
	}
	f, err := v.Open(ino)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<20)
	for _, of := range []struct {
		name string
		r    io.ReaderAt
	}{{"file", f}, {"image", r}} {
		b.Run(of.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				for at := int64(0); at < size; at += int64(len(p)) {
					if _, err := of.r.ReadAt(p, at); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
