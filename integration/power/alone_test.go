package power

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// aloneEnv is set in a process whose mounts are its own.
const aloneEnv = "HOLDFAST_POWER_ALONE"

// alone starts the process again in a mount namespace of its own.
//
// A namespace that anybody makes (unshare, a service manager, a container) begins
// with a copy of all mounts of its maker. As long as such a copy of a mount of
// ours lives, the file system behind it does, whoever has unmounted it here: it
// writes to its disk when it likes, also when that disk's file is by then
// the next one that lost its power. Nobody makes namespaces of this one.
func alone() error {
	if os.Getuid() != 0 || os.Getenv(aloneEnv) != "" {
		return nil // without root nothing is mounted
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := letGo(); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), aloneEnv+"=1"))
}

// letGo drops our copies of what other tests may have mounted, so that they
// are not held up in turn.
func letGo() error {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	for line := range bytes.Lines(info) {
		fields := strings.Fields(string(line))
		at, what := fields[4], string(line)
		if i := strings.Index(what, " - "); i < 0 || !strings.HasPrefix(what[i:], " - fuse") && !strings.Contains(what[i:], " /dev/loop") {
			continue
		}
		if within(cwd, at) || within(os.TempDir(), at) {
			continue
		}
		unix.Unmount(at, unix.MNT_DETACH) // one that is gone by now is as well
	}
	return nil
}

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(rel)
}

// mountImage mounts an image, or a disk, through a loop device. Unmounting
// waits until the kernel has let go of the image.
func mountImage(t *testing.T, image string) (at string, unmount func()) {
	t.Helper()
	at = t.TempDir()
	loop := strings.TrimSpace(tool(t, "losetup", "--find", "--show", image))
	tool(t, "mount", loop, at)
	return at, func() {
		for range 50 { // vaults let go of their segments' memory when it is collected
			runtime.GC()
			if exec.Command("umount", at).Run() == nil {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if exec.Command("mountpoint", "-q", at).Run() == nil {
			t.Errorf("%s is still in use", at)
			tool(t, "umount", "--lazy", at)
		}
		tool(t, "losetup", "-d", loop)
		waitUntilDetached(t, loop, image)
	}
}

// waitUntilDetached ends the test when a file system stays alive that was unmounted:
// it would write to its image while that is examined, or made anew.
func waitUntilDetached(t *testing.T, loop, image string) {
	t.Helper()
	for range 1000 {
		backing, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(loop), "loop/backing_file"))
		if err != nil || strings.TrimSpace(string(backing)) != image { // another may have the device by now
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s still serves %s: another mount namespace holds a copy of its mount", loop, image)
}

// TestNobodyElseCanCopyAMountOfThisTest looks at the mounts of who started this
// process: what they do not show, a namespace made there does not hold.
func TestNobodyElseCanCopyAMountOfThisTest(t *testing.T) {
	need(t, "mkfs.ext4", "losetup")
	image := filepath.Join(scratch(t), "image")
	makeFileSystem(t, image, fileSystems["ext4"])
	at, unmount := mountImage(t, image)
	defer unmount()
	for pid, want := range map[int]bool{os.Getpid(): true, os.Getppid(): false} {
		info, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			refuse(t, "%v", err)
		}
		if got := strings.Contains(string(info), " "+at+" "); got != want {
			t.Errorf("process %d sees the mount: %v, want %v", pid, got, want)
		}
	}
}

// TestADiskIsNotCalledUnmountedWhileANamespaceHoldsIt makes such a copy.
func TestADiskIsNotCalledUnmountedWhileANamespaceHoldsIt(t *testing.T) {
	need(t, "mkfs.ext4", "losetup", "unshare")
	image := filepath.Join(scratch(t), "image")
	makeFileSystem(t, image, fileSystems["ext4"])
	at, unmount := mountImage(t, image)
	holder := exec.Command("unshare", "-m", "sh", "-c", "echo holds; read _")
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	unmounted := make(chan struct{})
	go func() { defer close(unmounted); unmount() }()
	for exec.Command("mountpoint", "-q", at).Run() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case <-unmounted:
		t.Error("the image is called unmounted while a namespace has it mounted")
	case <-time.After(300 * time.Millisecond):
	}
	in.Close()
	holder.Wait()
	<-unmounted
}
