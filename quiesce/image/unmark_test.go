package image

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

func TestBitmapsOfOneVaultAreRemovedFromAnImageAndNoOthers(t *testing.T) {
	needs.Tools(t, "qemu-img")
	path := filepath.Join(t.TempDir(), "a disk.qcow2")
	run(t, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M")
	for _, name := range []string{"hf-v1-p1", "hf-v1-p2", "hf-v2-p1", "other"} {
		run(t, "qemu-img", "bitmap", "--add", path, name)
	}
	removed, err := RemoveBitmaps(t.Context(), path, "hf-v1-")
	if err != nil || strings.Join(removed, " ") != "hf-v1-p1 hf-v1-p2" {
		t.Errorf("removed %v: %v", removed, err)
	}
	if left := run(t, "qemu-img", "info", path); strings.Contains(left, "hf-v1-") || !strings.Contains(left, "hf-v2-p1") || !strings.Contains(left, "other") {
		t.Error(left)
	}
	if removed, err := RemoveBitmaps(t.Context(), path, "hf-v1-"); err != nil || len(removed) != 0 {
		t.Errorf("again: %v, %v", removed, err)
	}
	if _, err := RemoveBitmaps(t.Context(), filepath.Join(t.TempDir(), "gone.qcow2"), "hf-v1-"); err == nil {
		t.Error("an image that is not there has none")
	}
	if _, err := RemoveBitmaps(t.Context(), "-a disk.qcow2", "hf-"); err == nil {
		t.Error("took a name for an option")
	}
}
