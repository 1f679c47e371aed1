package power

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// mountImage mounts an image, or a disk, through a loop device. Unmounting
// waits until the kernel has let go of the image.
func mountImage(t *testing.T, image string) (at string, unmount func()) {
	t.Helper()
	at = t.TempDir()
	loop := strings.TrimSpace(tool(t, "losetup", "--find", "--show", image))
	tool(t, "mount", loop, at)
	return at, func() {
		for range 1500 { // vaults let go of their segments' memory when it is collected
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
	for range 6000 {
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
			needs.Missing(t, "%v", err)
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
