package btrfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// BenchmarkWalk walks 10,000 files, beside find on a fresh mount of the kernel's.
func BenchmarkWalk(b *testing.B) {
	needKernel(b)
	images := mkfs(b, 1, 512)
	dir, unmount := mount(b, images, "")
	treetest.MakeSmall(b, dir)
	unmount()
	all, err := os.ReadFile(images[0])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("here", func(b *testing.B) {
		treetest.BenchWalk(b, Format, bytes.NewReader(all), int64(len(all)), treetest.Small)
	})
	b.Run("find", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dir, unmount := mount(b, images, "ro")
			b.StartTimer()
			treetest.Run(b, "find", dir, "-printf", "%s")
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
	treetest.BenchRead(b, Format, r, length, "f", size)
}
