package backup_test

import (
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
)

func TestEveryVMHasANameThatAMachineCanHave(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"web1": "web1", "web 1": "web-1", "a@b:c/d": "a-b-c-d", " -x- ": "x", "latest": "vm-latest", "..": "vm", "": "vm", "é": "vm", "a  b": "a-b",
		strings.Repeat("x", 200): strings.Repeat("x", 60), ".hidden": ".hidden", "../../etc": "..-..-etc",
	} {
		got := backup.SafeName(name, 64, nil)
		if got != want || blockstore.CheckMachineName(got) != nil {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
	taken := map[string]bool{"web-1": true, "web-1-2": true}
	if got := backup.SafeName("web 1", 64, func(s string) bool { return taken[s] }); got != "web-1-3" {
		t.Errorf("where it is taken: %q", got)
	}
}

func FuzzSafeName(f *testing.F) {
	f.Add("web 1")
	f.Add("-.-")
	f.Fuzz(func(t *testing.T, name string) {
		if got := backup.SafeName(name, 64, nil); blockstore.CheckMachineName(got) != nil {
			t.Errorf("%q becomes %q", name, got)
		}
	})
}
