package fat

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// makeFAT makes an image of so many KiB.
func makeFAT(t testing.TB, kib int64, options ...string) string {
	t.Helper()
	needs.Tools(t, "mkfs.vfat", "mcopy")
	image := filepath.Join(t.TempDir(), "fat.img")
	treetest.Sparse(t, image, kib<<10)
	treetest.Run(t, "mkfs.vfat", append(append([]string{"-i", "1234ABCD", "-n", "DATEN 1"}, options...), image)...)
	return image
}
