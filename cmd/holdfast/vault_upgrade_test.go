package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAVaultsFormatIsTheNewestAndUpgradingItChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	vault := filepath.Join(t.TempDir(), "vault")
	s.must(exitDone, "vault", "create", vault)
	before, err := os.ReadDir(filepath.Join(vault, "VAULT"))
	if err != nil {
		t.Fatal(err)
	}
	s.must(exitDone, "vault", "upgrade", "--vault", vault).says(t, "has format 1, the newest: there is nothing to raise")
	after, err := os.ReadDir(filepath.Join(vault, "VAULT"))
	if err != nil || len(after) != len(before) || after[0].Name() != before[0].Name() {
		t.Errorf("%v, %v: was %v", after, err, before)
	}
	s.must(exitNotFound, "vault", "upgrade", "--vault", vault+"x")
}
