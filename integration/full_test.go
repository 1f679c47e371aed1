package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// TestAVaultThatIsFullSaysSoAndRestoresAsBefore fills small file systems to their last
// byte, with the floor of free space out of the way.
func TestAVaultThatIsFullSaysSoAndRestoresAsBefore(t *testing.T) {
	t.Parallel()
	for name, mount := range map[string]func(*testing.T, int) string{"tmpfs": smallTmpfs, "ext4": smallExt4} {
		t.Run(name, func(t *testing.T) {
			needs.Root(t)
			small, large := noisyImage(t, 8, 16), noisyImage(t, 9, 160)
			v := newVaultAt(t, filepath.Join(mount(t, 100), "vault"))
			v.backup("web1", small, "--min-free", "none")
			o := v.must(7, "backup", "web1", "--disk", "vda="+large, "--min-free", "none")
			if !strings.Contains(o.err, "full") && !strings.Contains(o.err, "space") {
				t.Errorf("the words do not say that the vault is full: %s", o.err)
			}
			if n := len(v.points()); n != 1 {
				t.Errorf("%d points, want the one from before", n)
			}
			v.must(0, "check", "--data")
			if v.restored("web1", "latest") != hashFile(t, small) {
				t.Error("the point from before differs")
			}
			v.must(7, "backup", "web1", "--disk", "vda="+large, "--min-free", "none")
			v.must(0, "check", "--data")
		})
	}
}

// TestTheFloorOfFreeSpaceEndsABackupBeforeTheDiskIsFull leaves the floor as it is.
func TestTheFloorOfFreeSpaceEndsABackupBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	folder := smallTmpfs(t, 100)
	v := newVaultAt(t, filepath.Join(folder, "vault"))
	v.must(7, "backup", "web1", "--disk", "vda="+noisyImage(t, 10, 160), "--min-free", "40MiB")
	if free := freeBytes(t, folder); free < 30<<20 {
		t.Errorf("%d bytes are free, the floor was 40 MiB", free)
	}
	v.must(0, "check", "--data")
}

func smallTmpfs(t *testing.T, mib int) string {
	t.Helper()
	return mountFor(t, "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", mib), "tmpfs")
}

func smallExt4(t *testing.T, mib int) string {
	t.Helper()
	needs.Tools(t, "mkfs.ext4", "losetup")
	image := filepath.Join(t.TempDir(), "small.raw")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, int64(mib)<<20); err != nil {
		t.Fatal(err)
	}
	tool(t, "mkfs.ext4", "-q", "-F", "-m", "0", image)
	return mountFor(t, "-o", "loop", image)
}

// mountFor mounts something until the test ends.
func mountFor(t *testing.T, args ...string) string {
	t.Helper()
	at := t.TempDir()
	tool(t, append(append([]string{"mount"}, args...), at)...)
	t.Cleanup(func() { tool(t, "umount", at) })
	return at
}

func freeBytes(t *testing.T, folder string) int64 {
	t.Helper()
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}
