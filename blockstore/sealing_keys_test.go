package blockstore

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/keyring"
)

func TestKeysOfASealedVaultChangeWithoutTouchingPacks(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("right")}})
	old := o.Keys()[0].ID
	id, err := o.AddKey(SealWith{Passphrase: "new", Work: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveKey(old); err != nil {
		t.Fatal(err)
	}
	p := backUp(t, o, "web1", map[string]Source{"vda": memory(secretDisk())})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Unlock: passphrase("right")}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("with the removed passphrase: %v", err)
	}
	o = ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("new")}})
	if !bytes.Equal(readDisk(t, o.Vault, p, "vda"), secretDisk()) {
		t.Error("the disk reads otherwise")
	}
	if err := o.RemoveKey(id); err != nil {
		t.Fatal(err)
	}
	if err := o.RemoveKey(o.Keys()[0].ID); err == nil {
		t.Error("the last key could be removed")
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Unlock: &keyring.Unlocker{Identities: []string{identity}}}); err != nil {
		t.Error(err)
	}
}

func TestARemovedKeyOpensNothingThoughPacksRememberIt(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	u := &Unlocker{Identities: []string{identity}}
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: u}})
	backUp(t, o, "web1", map[string]Source{"vda": memory(secretDisk())})
	if err := o.RemoveKey(o.Keys()[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Unlock: passphrase("right")}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("opened with the removed key: %v", err)
	}
}

// The headers of packs know the keys of when they were written, which may all be gone.
func TestAChangedKeyOpensTheVaultThoughAnyOneFileOfVAULTIsLost(t *testing.T) {
	t.Parallel()
	dir, identity := sealedVault(t)
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("right")}})
	backUp(t, o, "web1", map[string]Source{"vda": memory(secretDisk())})
	if _, err := o.AddKey(SealWith{Passphrase: "new", Work: 10}); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(dir, vaultDir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	for i := range 4 { // now the first, now the last; the next owner writes another
		names := files()
		if len(names) != 2 {
			t.Fatalf("VAULT is in %q", names)
		}
		if err := os.WriteFile(names[i%2], []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("new")}}).Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range files() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	for u, want := range map[*Unlocker]error{nil: ErrNoKey, passphrase("new"): ErrWrongKey, passphrase("right"): nil, {Identities: []string{identity}}: nil} {
		v, err := Open(t.Context(), dir, Options{Unlock: u})
		if !errors.Is(err, want) {
			t.Errorf("without VAULT: %v, want %v", err, want)
		}
		if err == nil {
			v.Close()
		}
	}
}
