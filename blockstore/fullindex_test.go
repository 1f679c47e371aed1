package blockstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// The index lies on a file system of its own, with so much room left. In child
// processes, since memory that cannot be written back ends a process.
func TestAnIndexWhoseDiskIsFullEndsNoProcessAndIsFilledOnceThereIsRoom(t *testing.T) {
	dir := vaultIn(t, sampleBlock)
	o := ownVault(t, dir, OwnOptions{})
	o.store.packBytes = crashPackBytes
	disk := noise(20, 200)
	p := backUp(t, o, "web1", map[string]Source{"vda": disk})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, indexDir)
	for _, kib := range []int{4, 16, 24, 32, 40, 64, 1 << 10, 3 << 10, 5 << 10, 6 << 10, 12 << 10, 32 << 10} {
		for _, order := range []childOrder{{Dir: dir, Rebuild: true}, {Dir: dir, Machines: 1, Rounds: 20, Seed: uint64(kib)}} {
			if err := os.RemoveAll(folder); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
				needs.Missing(t, "mounting needs root: %v", err)
			}
			out, err := childCommand(t, order).CombinedOutput()
			if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			if text := string(out); strings.Contains(text, "goroutine") || err != nil && !strings.Contains(text, "no space left") {
				t.Errorf("with %d KiB: %v\n%.1000s", kib, err, text)
			}
			if err == nil && kib < minIndexRoom>>10 {
				t.Errorf("with %d KiB it was written", kib)
			}
		}
	}
	o = ownVault(t, dir, OwnOptions{})
	defer o.Close()
	again := backUp(t, o, "web2", map[string]Source{"vda": disk})
	if again.Sizes.Stored > 1<<10 {
		t.Errorf("%d bytes were stored again", again.Sizes.Stored)
	}
	mustHold(t, o.Vault, p, disk)
	mustCheck(t, o.Vault)
}
