package service

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

func TestAFullVaultSaysWhatGivesSpaceBack(t *testing.T) {
	t.Parallel()
	text := adviceOn(&blockstore.Usage{Trash: 1 << 20, InTrash: 2, Unnamed: 2 << 20, Dead: 3 << 20})
	for _, part := range []string{"1 MiB only in the trash (2 points)", "2 MiB of backups", "3 MiB that nothing names"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in %s", part, text)
		}
	}
}
