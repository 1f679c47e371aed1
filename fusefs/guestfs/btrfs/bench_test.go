package btrfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// walk visits all of a tree as find -printf does and counts.
func walk(b *testing.B, v tree.FileSystem, ino uint64) (n int) {
	for e, err := range v.ReadDir(ino) {
		if err != nil {
			b.Fatal(err)
		}
		a, err := v.Stat(e.Ino)
		if err != nil {
			b.Fatal(err)
		}
		n++
		if a.Mode&typeMask == typeFolder {
			n += walk(b, v, e.Ino)
		}
	}
	return n
}

// BenchmarkWalk walks 10,000 files, beside find on a fresh mount of the kernel's.
func BenchmarkWalk(b *testing.B) {
	needKernel(b)
	images := mkfs(b, 1, 512)
	dir, unmount := mount(b, images, "")
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
	unmount()
	all, err := os.ReadFile(images[0])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("here", func(b *testing.B) {
		for b.Loop() {
			v, err := Format.Open(bytes.NewReader(all), int64(len(all)), tree.Options{})
			if err != nil {
				b.Fatal(err)
			}
			if n := walk(b, v, v.Root()); n != 10500 {
				b.Fatal(n)
			}
		}
	})
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dir, unmount := mount(b, images, "ro")
			b.StartTimer()
			run(b, "find", dir, "-printf", "%s")
			b.StopTimer()
			unmount()
			b.StartTimer()
		}
	})
}

// BenchmarkRead reads a file of 128 MiB, beside the image itself.
func BenchmarkRead(b *testing.B) {
	needKernel(b)
	images := mkfs(b, 1, 512)
	dir, unmount := mount(b, images, "")
	const size = 128 << 20
	if err := os.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o644); err != nil {
		b.Fatal(err)
	}
	unmount()
	whole := part(b, images[0])
	r, length := whole.R, whole.Size
	v, err := Format.Open(r, length, tree.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ino, err := v.Lookup(v.Root(), "f")
	if err != nil {
		b.Fatal(err)
	}
	f, err := v.Open(ino)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 1<<20)
	b.Run("file", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for at := int64(0); at < size; at += int64(len(p)) {
				if _, err := f.ReadAt(p, at); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("image", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			for at := int64(0); at < size; at += int64(len(p)) {
				if _, err := r.ReadAt(p, at); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
