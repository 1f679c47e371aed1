package btrfs

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// needKernel skips where btrfs cannot be mounted.
func needKernel(t testing.TB) {
	t.Helper()
	treetest.NeedMount(t, "btrfs")
	needs.Tools(t, "mkfs.btrfs", "btrfs")
}

// mkfs makes n images of so many MiB each, one file system over all.
func mkfs(t testing.TB, n int, size int64, options ...string) []string {
	t.Helper()
	needs.Tools(t, "mkfs.btrfs")
	dir := treetest.Scratch(t)
	var images []string
	for i := range n {
		path := filepath.Join(dir, string(rune('a'+i))+".img")
		treetest.Sparse(t, path, size<<20)
		images = append(images, path)
	}
	treetest.Run(t, "mkfs.btrfs", append(append([]string{"-q", "-L", "label"}, options...), images...)...)
	return images
}

// mount mounts images until the test ends or the returned function is called.
func mount(t testing.TB, images []string, options string) (dir string, unmount func()) {
	t.Helper()
	dir = filepath.Join(filepath.Dir(images[0]), "m")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var loops []string
	mounted := false
	unmount = sync.OnceFunc(func() {
		if mounted {
			treetest.Unmount(t, dir)
		}
		for _, l := range loops {
			if len(images) > 1 {
				treetest.Try("btrfs", "device", "scan", "--forget", l) // this one: others may be just being mounted
			}
			treetest.Try("losetup", "-d", l)
		}
	})
	t.Cleanup(unmount)
	for _, image := range images {
		loops = append(loops, strings.TrimSpace(treetest.Run(t, "losetup", "--show", "-f", image)))
	}
	o := []string{"noatime"}
	if options != "" {
		o = append(o, options)
	}
	for _, l := range loops[1:] {
		o = append(o, "device="+l)
	}
	treetest.Mount(t, "btrfs", strings.Join(o, ","), loops[0], dir)
	mounted = true
	return dir, unmount
}

func part(t testing.TB, path string) tree.Part {
	t.Helper()
	r, size := treetest.Image(t, path)
	return tree.Part{R: r, Size: size}
}

// opened opens the file system in images.
func opened(t testing.TB, images ...string) *volume {
	t.Helper()
	var parts []tree.Part
	for _, i := range images {
		p := part(t, i)
		if !Format.Probe(p.R, p.Size) {
			t.Fatal("the volume is not taken for btrfs")
		}
		parts = append(parts, p)
	}
	v, err := Format.OpenSet(parts, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v.(*volume)
}

// image is an image in memory.
type image []byte

func (m image) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(m)) {
		return 0, io.EOF
	}
	n := copy(p, m[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// exact compares volumes with what the kernel shows: inode numbers without the subvolume's, and without the
// times that Linux makes up for a folder that stands for a subvolume.
var exact = treetest.Exact{Normal: func(a *tree.Attr) {
	if a.Ino &= 1<<numberBits - 1; a.Ino == emptyFolder {
		a.Atime, a.Mtime, a.Ctime, a.Btime = time.Unix(0, 0), time.Unix(0, 0), time.Unix(0, 0), time.Time{}
	}
}}
