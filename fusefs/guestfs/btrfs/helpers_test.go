package btrfs

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// need skips a test that lacks something, and fails it where everything was promised.
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

// try calls a tool, which has two minutes.
func try(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := try(name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

func needTool(t testing.TB, name string) {
	t.Helper()
	_, err := exec.LookPath(name)
	need(t, err == nil, name)
}

// needKernel skips where btrfs cannot be mounted.
func needKernel(t testing.TB) {
	t.Helper()
	need(t, os.Geteuid() == 0, "root")
	for _, tool := range []string{"mkfs.btrfs", "btrfs", "mount", "losetup"} {
		needTool(t, tool)
	}
	_, err := os.Stat("/dev/loop-control")
	need(t, err == nil, "loop devices")
	list, _ := os.ReadFile("/proc/filesystems")
	need(t, strings.Contains(string(list), "\tbtrfs\n"), "a kernel with btrfs")
}

// scratch is a folder in memory where there is one, as images are sparse.
func scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-btrfs-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// mkfs makes n images of so many MiB each, one file system over all.
func mkfs(t testing.TB, n int, size int64, options ...string) []string {
	t.Helper()
	needTool(t, "mkfs.btrfs")
	dir := scratch(t)
	var images []string
	for i := range n {
		path := filepath.Join(dir, string(rune('a'+i))+".img")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size<<20); err != nil {
			t.Fatal(err)
		}
		images = append(images, path)
	}
	run(t, "mkfs.btrfs", append(append([]string{"-q", "-L", "label"}, options...), images...)...)
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
	done := false
	unmount = func() {
		if done {
			return
		}
		done = true
		var out string
		var err error
		for range 50 { // something else of the machine may look into it
			if out, err = try("mountpoint", "-q", dir); err != nil {
				break
			}
			if out, err = try("umount", dir); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if _, still := try("mountpoint", "-q", dir); still == nil {
			t.Errorf("umount: %v\n%s", err, out)
			try("umount", "-l", dir)
		}
		for _, l := range loops {
			try("losetup", "-d", l)
		}
		if len(images) > 1 {
			try("btrfs", "device", "scan", "--forget") // what is not mounted
		}
	}
	t.Cleanup(unmount)
	for _, image := range images {
		loops = append(loops, strings.TrimSpace(run(t, "losetup", "--show", "-f", image)))
	}
	o := []string{"noatime"}
	if options != "" {
		o = append(o, options)
	}
	for _, l := range loops[1:] {
		o = append(o, "device="+l)
	}
	if out, err := try("mount", "-t", "btrfs", "-o", strings.Join(o, ","), loops[0], dir); err != nil {
		kernel, _ := try("dmesg")
		t.Fatalf("mount: %v\n%s\n%s", err, out, kernel[max(0, len(kernel)-900):])
	}
	return dir, unmount
}

func part(t testing.TB, path string) tree.Part {
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
	return tree.Part{R: f, Size: s.Size()}
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
