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
	treetest.BenchWalkBesideFind(b, Format, images[0], func() (string, func()) { return mount(b, images, "ro") })
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
