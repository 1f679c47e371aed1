package treetest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// NeedMount requires that the kernel can mount images of a kind of file system.
func NeedMount(t testing.TB, kind string) {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "mount", "losetup")
	_, err := os.Stat("/dev/loop-control")
	needs.That(t, err == nil, "loop devices")
	kinds, _ := os.ReadFile("/proc/filesystems")
	needs.That(t, bytes.Contains(kinds, []byte("\t"+kind+"\n")), "a kernel with %s", kind)
}

// Try runs a tool, which has three minutes, and returns what it says. Its settings are the same everywhere.
func Try(tool string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1", "MKE2FS_SKIP_CHECK_MSG=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Run runs a tool that must succeed, and returns what it says.
func Run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	out, err := Try(tool, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
	return out
}

// Mount mounts a device, or an image with the option loop, or fails with what the kernel says.
func Mount(t testing.TB, kind, options, what, dir string) {
	t.Helper()
	if out, err := Try("mount", "-t", kind, "-o", options, what, dir); err != nil {
		kernel, _ := Try("dmesg")
		t.Fatalf("mount: %v\n%s\n%s", err, out, kernel[max(0, len(kernel)-900):])
	}
}

// Scratch is a folder for images, in memory where there is some: they are sparse, and synced often.
func Scratch(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Unmount unmounts a folder. A child of another test may hold a file in it open for a moment: it is tried for
// a minute.
func Unmount(t testing.TB, dir string) {
	t.Helper()
	err := unix.Unmount(dir, 0)
	for range 3000 {
		if err != unix.EBUSY {
			break
		}
		time.Sleep(20 * time.Millisecond)
		err = unix.Unmount(dir, 0)
	}
	if err != nil {
		t.Errorf("unmount %s: %v", dir, err)
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
}
