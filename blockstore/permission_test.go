package blockstore

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// nobody is a user without rights.
const nobody = 65534

// TestAVaultWhosePermissionsAreTakenAwayIsWholeWhenTheyAreBack runs its owners
// as a user who is not root, to whom modes mean something.
func TestAVaultWhosePermissionsAreTakenAwayIsWholeWhenTheyAreBack(t *testing.T) {
	if os.Getuid() != 0 {
		needs.Missing(t, "becoming another user needs root")
	}
	for _, folder := range []string{packsDir, segmentsDir, pointsDir, writersDir, indexDir, "."} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			c := &crashed{t: t, dir: vaultIn(t, 16<<10), known: map[PointID]bool{}}
			give(t, filepath.Dir(c.dir))
			run := func(seed uint64) (string, error) {
				cmd := childCommand(t, childOrder{Dir: c.dir, Seed: seed, Machines: 2, Rounds: 2})
				cmd.Path = "/proc/self/exe" // whatever the folders above it allow
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
				out, err := cmd.CombinedOutput()
				for _, id := range acknowledged(out) {
					c.known[id] = true
				}
				return string(out), err
			}
			if out, err := run(1); err != nil {
				t.Skipf("the test binary cannot be run by another user: %v: %s", err, out)
			}
			modes := takeAway(t, filepath.Join(c.dir, folder))
			out, err := run(2)
			if err == nil || !strings.Contains(out, "permission denied") || strings.Contains(out, "goroutine") {
				t.Errorf("without permission: %v: %s", err, out)
			}
			for name, mode := range modes {
				if err := os.Chmod(name, mode); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := run(3); err != nil {
				t.Errorf("with permission again: %v: %s", err, out)
			}
			c.survives(nil)
		})
	}
}

// give makes a folder nobody's.
func give(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(p, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// takeAway lets nothing be written in a folder any more, and returns the modes
// of before.
func takeAway(t *testing.T, folder string) map[string]fs.FileMode {
	t.Helper()
	modes := map[string]fs.FileMode{}
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		modes[p] = info.Mode().Perm()
		return os.Chmod(p, info.Mode().Perm()&0o500)
	})
	if err != nil {
		t.Fatal(err)
	}
	return modes
}
