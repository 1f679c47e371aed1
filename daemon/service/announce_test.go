package service_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func TestACopyOfAVaultIsNeverTakenForTheOneThatADaemonOwns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "vault")
	info, err := blockstore.Create(t.Context(), path, blockstore.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := service.FindAnnounced(dir, path); ok {
		t.Error("where nothing is announced a vault is found")
	}
	a, err := service.Announcement(info)
	if err != nil {
		t.Fatal(err)
	}
	if err := service.Announce(dir, []service.Announced{{ID: "x", Dev: a.Dev, Ino: 1}, a}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "vaults.json")); err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("what is announced has mode %v, %v", st.Mode(), err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link, path + "/"} {
		if found, ok := service.FindAnnounced(dir, p); !ok || found.ID != info.ID {
			t.Errorf("%s: %+v, %v", p, found, ok)
		}
	}
	copied := filepath.Join(dir, "copy")
	if out, err := exec.Command("cp", "-a", path, copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range []string{copied, filepath.Join(dir, "none"), dir} {
		if found, ok := service.FindAnnounced(dir, p); ok {
			t.Errorf("%s is taken for %+v", p, found)
		}
	}
	other := a
	other.ID = "0000000000000001"
	if err := service.Announce(dir, []service.Announced{other}); err != nil {
		t.Fatal(err)
	}
	if _, ok := service.FindAnnounced(dir, path); ok {
		t.Error("a vault of another id, at the same inode, is taken for it")
	}
	if err := os.WriteFile(filepath.Join(dir, "vaults.json"), []byte("["), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := service.FindAnnounced(dir, path); ok {
		t.Error("something is found in half a file")
	}
}
