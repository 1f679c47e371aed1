package ntfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// makeNTFS makes an image of so many MiB.
func makeNTFS(t testing.TB, mib int64, options ...string) string {
	t.Helper()
	needs.Tools(t, "mkntfs", "ntfs-3g", "umount")
	needs.Root(t)
	_, err := os.Stat("/dev/fuse")
	needs.That(t, err == nil, "/dev/fuse")
	image := filepath.Join(t.TempDir(), "ntfs.img")
	treetest.Sparse(t, image, mib<<20)
	args := append([]string{"-F", "-Q", "-q", "-L", "Daten"}, options...)
	treetest.Run(t, "mkntfs", append(args, image)...)
	return image
}

// mounted mounts an image through ntfs-3g for as long as during takes. The
// mount is gone and all written when it returns, and also when the test fails or is killed.
func mounted(t testing.TB, image, options string, during func(dir string)) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("ntfs-3g", "-o", "no_detach,"+options, image, dir)
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	var said strings.Builder
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		_ = server.Wait()
		close(gone)
	}()
	defer func() {
		for end := time.Now().Add(2 * time.Minute); ; {
			_ = exec.Command("umount", dir).Run() // a child of another test may hold a file in it open for a moment
			select {
			case <-gone:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if time.Now().After(end) {
				_ = exec.Command("umount", "-l", dir).Run()
				_ = server.Process.Kill()
				<-gone
				t.Error("ntfs-3g did not end within two minutes")
				return
			}
		}
	}()
	for deadline := time.Now().Add(2 * time.Minute); !isMounted(dir); time.Sleep(2 * time.Millisecond) {
		select {
		case <-gone:
			t.Fatalf("ntfs-3g ended: %s", said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("ntfs-3g did not mount within two minutes: %s", said.String())
		}
	}
	during(dir)
}

func isMounted(dir string) bool {
	table, err := os.ReadFile("/proc/self/mounts")
	return err == nil && strings.Contains(string(table), " "+dir+" fuse")
}
