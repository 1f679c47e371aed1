package xfs

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// need skips a test that lacks something, and fails it where everything was
// promised.
func need(t testing.TB, have bool, what string) {
	t.Helper()
	if have {
		return
	}
	if os.Getenv("HOLDFAST_CI") == "1" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// run calls a tool and fails the test when it does.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// try calls a tool, which has two minutes.
func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func needTool(t testing.TB, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	need(t, err == nil, name)
}

// needKernel skips where XFS cannot be mounted.
func needKernel(t testing.TB) {
	t.Helper()
	need(t, os.Geteuid() == 0, "root")
	needTool(t, "mkfs.xfs")
	needTool(t, "mount")
	_, err := os.Stat("/dev/loop-control")
	need(t, err == nil, "loop devices")
	list, _ := os.ReadFile("/proc/filesystems")
	for _, name := range [][]byte{[]byte("\txfs\n")} {
		have := false
		for i := 0; i+len(name) <= len(list); i++ {
			have = have || string(list[i:i+len(name)]) == string(name)
		}
		need(t, have, "a kernel with XFS")
	}
}

// scratch is a folder in memory where there is one, as images are sparse.
func scratch(t testing.TB) string {
	t.Helper()
	if _, err := os.Stat("/dev/shm"); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-xfs-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// mkfs makes an image of so many MiB. Sizes under 300 MiB are for tests only,
// which is what the option says.
func mkfs(t testing.TB, size int64, options ...string) string {
	t.Helper()
	needTool(t, "mkfs.xfs")
	path := filepath.Join(scratch(t), "xfs.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size << 20); err != nil {
		t.Fatal(err)
	}
	run(t, "mkfs.xfs", append(append([]string{"-q", "--unsupported"}, options...), path)...)
	return path
}

// mount mounts an image until the test ends or the returned function is called.
func mount(t testing.TB, image, options string) (dir string, unmount func()) {
	t.Helper()
	dir = filepath.Join(filepath.Dir(image), "m-"+filepath.Base(image))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-t", "xfs", "-o", "loop,nouuid"} // copies are mounted beside each other
	if options != "" {
		args[3] += "," + options
	}
	if out, err := try("mount", append(args, image, dir)...); err != nil {
		kernel, _ := try("dmesg")
		t.Fatalf("mount: %v\n%s\n%s", err, out, kernel[max(0, len(kernel)-300):])
	}
	mounted := true
	unmount = func() {
		if !mounted {
			return
		}
		mounted = false
		var out string
		var err error
		for range 50 { // something else of the machine may look into it
			if out, err = try("umount", dir); err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Errorf("umount: %v\n%s", err, out)
		try("umount", "-l", dir)
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// opened opens an image file for reading.
func opened(t testing.TB, path string) (io.ReaderAt, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, s.Size()
}

// open opens the file system in an image.
func openImage(t testing.TB, path string) tree.FileSystem {
	t.Helper()
	r, size := opened(t, path)
	if !Format.Probe(r, size) {
		t.Fatalf("the volume is not taken for XFS")
	}
	v, err := Format.Open(r, size, tree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// copyFile copies an image with its holes.
func copyFile(t testing.TB, from, to string) string {
	t.Helper()
	run(t, "cp", "--sparse=always", from, to)
	return to
}

// exact compares volumes with what the kernel shows.
var exact treetest.Exact
