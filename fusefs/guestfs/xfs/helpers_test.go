package xfs

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// needKernel skips where XFS cannot be mounted.
func needKernel(t testing.TB) {
	t.Helper()
	treetest.NeedMount(t, "xfs")
	needs.Tools(t, "mkfs.xfs")
}

// mkfs makes an image of so many MiB. Sizes under 300 MiB are for tests only,
// which is what the option says.
func mkfs(t testing.TB, size int64, options ...string) string {
	t.Helper()
	needs.Tools(t, "mkfs.xfs")
	path := filepath.Join(treetest.Scratch(t), "xfs.img")
	treetest.Sparse(t, path, size<<20)
	treetest.Run(t, "mkfs.xfs", append(append([]string{"-q", "--unsupported"}, options...), path)...)
	return path
}

// mount mounts an image until the test ends or the returned function is called.
func mount(t testing.TB, image, options string) (dir string, unmount func()) {
	t.Helper()
	dir = filepath.Join(filepath.Dir(image), "m-"+filepath.Base(image))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if options != "" {
		options = "," + options
	}
	treetest.Mount(t, "xfs", "loop,nouuid"+options, image, dir) // copies are mounted beside each other
	unmount = sync.OnceFunc(func() { treetest.Unmount(t, dir) })
	t.Cleanup(unmount)
	return dir, unmount
}

// exact compares volumes with what the kernel shows.
var exact treetest.Exact
