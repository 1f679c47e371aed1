package blockstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestAnOwnerWhoseVaultWasMovedAwayEndsAndWritesNothingElsewhere moves the folder of an open vault, leaves nothing or
// a copy in its place, and has it write there and close.
func TestAnOwnerWhoseVaultWasMovedAwayEndsAndWritesNothingElsewhere(t *testing.T) {
	t.Parallel()
	for name, copied := range map[string]bool{"nothing": false, "a copy": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newVault(t, 16<<10)
			o := ownVault(t, dir, OwnOptions{})
			backUp(t, o, "web1", map[string]Source{"vda": memory("one")})
			b, err := o.Begin(t.Context(), BackupOptions{Machine: "web2", Time: time.Now(), Asked: Crash, Reached: Crash})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.AddDisk(t.Context(), DiskInfo{Name: "vda", Format: "raw"}, memory("two"), nil); err != nil {
				t.Fatal(err)
			}
			there, away := dir+".there", dir+".away"
			if err := os.CopyFS(there, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			before := filesOf(t, there)
			if err := os.Rename(dir, away); err != nil {
				t.Fatal(err)
			}
			if copied {
				if err := os.Rename(there, dir); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := o.SetPolicy(t.Context(), Policy{Name: "p"}); err == nil {
				t.Errorf("a policy is written: %v", err)
			}
			if _, err := b.Commit(t.Context()); err == nil {
				t.Error("a backup is committed")
			}
			b.Abort()
			if err := o.Close(); !errors.Is(err, ErrNotVault) {
				t.Errorf("it is closed with %v", err)
			}
			switch {
			case copied:
				for name := range filesOf(t, dir) {
					if !before[name] {
						t.Errorf("%s was added to the copy", name)
					}
				}
			default:
				if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("something was made in place of the vault: %v", err)
				}
			}
			o = ownVault(t, away, OwnOptions{})
			backUp(t, o, "web1", map[string]Source{"vda": memory("three")})
			if err := o.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// filesOf names the files of a vault, those of its index apart, which are not believed in a copy.
func filesOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, part := range []string{packsDir, segmentsDir, pointsDir, attrsDir, machinesDir, policiesDir} {
		err := filepath.WalkDir(filepath.Join(dir, part), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				name, _ := filepath.Rel(dir, path)
				all[name] = true
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
