package backend

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Whoever can write into a vault's folder must not have root overwrite a file elsewhere.
func TestALockFollowsNoLink(t *testing.T) {
	t.Parallel()
	dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"OWNER": victim, "dangling": victim + "2"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if _, err := NewDir(dir).Lock(name); !errors.Is(err, ErrNotFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	st, err := os.Stat(victim)
	if err != nil || st.Mode().Perm() != 0o644 || st.Size() != 4 {
		t.Errorf("what the link leads to: %v, %v", st, err)
	}
	if _, err := os.Lstat(victim + "2"); err == nil {
		t.Error("a file was made where the link leads")
	}
}

func TestAPipeInPlaceOfAFileHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := NewDir(dir)
	_, readErr := d.ReadFile("pipe", 100)
	_, openErr := d.Open("pipe")
	_, lockErr := d.Lock("pipe")
	for _, err := range []error{readErr, openErr, lockErr} {
		if !errors.Is(err, ErrNotFile) {
			t.Error(err)
		}
	}
}
