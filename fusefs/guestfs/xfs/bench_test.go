package xfs

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
	image := mkfs(b, 200)
	dir, unmount := mount(b, image, "")
	treetest.MakeSmall(b, dir)
	unmount()
	treetest.BenchWalkBesideFind(b, Format, image, func() (string, func()) { return mount(b, image, "ro,noatime,norecovery") })
}

// BenchmarkRead reads a file of 128 MiB, beside the image itself.
func BenchmarkRead(b *testing.B) {
	needKernel(b)
	image := mkfs(b, 300)
	dir, unmount := mount(b, image, "")
	const size = 128 << 20
	if err := os.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte("0123456789abcdef"), size/16), 0o644); err != nil {
		b.Fatal(err)
	}
	unmount()
	r, length := treetest.Image(b, image)
	treetest.BenchRead(b, Format, r, length, "f", size)
}
