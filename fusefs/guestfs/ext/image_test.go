package ext

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// mkfs makes an image; the last options are mke2fs's own.
func mkfs(t testing.TB, size int64, options ...string) string {
	t.Helper()
	needs.Tools(t, "mke2fs", "debugfs", "e2fsck")
	image := filepath.Join(treetest.Scratch(t), "image")
	treetest.Sparse(t, image, size)
	treetest.Run(t, "mke2fs", append(append([]string{"-q", "-F"}, options...), image)...)
	return image
}

// mounted mounts an image through a loop device, which goes with the mount. It is
// unmounted when the test ends, or before by the function returned.
func mounted(t testing.TB, image, options string) (dir string, unmount func()) {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "losetup", "mount")
	dir = filepath.Join(treetest.Scratch(t), "mount")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if options != "" {
		options = "," + options
	}
	if out, err := treetest.Try("mount", "-t", "ext4", "-o", "loop"+options, image, dir); err != nil {
		plain := mountsPlain()
		needs.That(t, plain == nil, "to mount images: %v", plain)
		t.Skipf("this kernel lacks a feature: %s", out)
	}
	unmount = sync.OnceFunc(func() { treetest.Unmount(t, dir) })
	t.Cleanup(unmount)
	return dir, unmount
}

// mountsPlain tells whether images can be mounted at all.
var mountsPlain = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "holdfast-ext-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	image, on := filepath.Join(dir, "image"), filepath.Join(dir, "on")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 8<<20), os.Mkdir(on, 0o700)); err != nil {
		return err
	}
	if out, err := treetest.Try("mke2fs", "-q", "-F", "-t", "ext4", image); err != nil {
		return errors.New(out)
	}
	if out, err := treetest.Try("mount", "-o", "loop", image, on); err != nil {
		return errors.New(out)
	}
	return syscall.Unmount(on, 0)
})

// opened opens an image with the reader that is tested.
func opened(t testing.TB, image string, o tree.Options) *volume {
	t.Helper()
	return treetest.OpenImage(t, Format, image, o).(*volume)
}

func copyImage(t testing.TB, image string) string {
	t.Helper()
	return treetest.Copy(t, image, filepath.Join(treetest.Scratch(t), "copy"))
}

// resolve walks a path, for tests.
func resolve(v *volume, path string) (uint64, error) {
	ino := v.Root()
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name == "" {
			continue
		}
		var err error
		if ino, err = v.Lookup(ino, name); err != nil {
			return 0, err
		}
	}
	return ino, nil
}

func content(t testing.TB, v *volume, path string) []byte {
	t.Helper()
	ino, err := resolve(v, path)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	f, err := v.Open(ino)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	a, err := v.Stat(ino)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, a.Size))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// pattern is content that no two blocks share.
func pattern(seed, n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d-%d;", seed, i)
	}
	return b.Bytes()[:n]
}
