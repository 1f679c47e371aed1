package ntfs

import (
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// examine calls everything that a volume has, whatever it answers.
func examine(t testing.TB, b []byte) (files, failed int) {
	t.Helper()
	return treetest.Examine(t, Format, b, "system.ntfs_reparse_data", "system.ntfs_attrib")
}
