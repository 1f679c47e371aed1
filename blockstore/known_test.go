package blockstore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestASealedVaultThatAnotherWasPutInThePlaceOfIsNotWrittenInto has one key, whose
// public half anybody may know, and several vaults that it opens.
func TestASealedVaultThatAnotherWasPutInThePlaceOfIsNotWrittenInto(t *testing.T) {
	dir, identity := sealedVault(t)
	plain := newVault(t, sampleBlock)
	o := Options{Known: filepath.Join(t.TempDir(), "vaults"), Unlock: &Unlocker{Identities: []string{identity}}}
	first := ownVault(t, dir, OwnOptions{Options: o})
	recipient := first.Keys()[1].Recipient
	want := first.Info().ID
	mustClose(t, first)
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o})) // it is known

	evil := filepath.Join(t.TempDir(), "vault")
	if _, err := Create(t.Context(), evil, CreateOptions{Seal: []SealWith{{Recipient: recipient}}}); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{"sealed for the same key": evil, "not sealed": plain} {
		put(t, dir, other)
		open := o
		if name == "not sealed" {
			open.Unlock = nil
		}
		_, err := Own(t.Context(), dir, OwnOptions{Options: open, MinFree: -1})
		var otherErr *OtherVaultError
		if !errors.As(err, &otherErr) || otherErr.Known != want {
			t.Errorf("%s: %v", name, err)
		}
		v, err := Open(t.Context(), dir, open)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := v.Standing(); st.Other == nil || st.String() == "" || err != nil {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
		v.Close()
		put(t, dir, other) // back
	}
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o}))

	put(t, dir, evil)
	if _, err := TakeOver(t.Context(), dir, TakeOverOptions{Options: o}); err != nil { // a person said so
		t.Fatal(err)
	}
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o}))
	put(t, dir, evil)
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o})) // two that take turns, as disks do that are carried away
	if _, err := TakeOver(t.Context(), dir, TakeOverOptions{Options: o, NewID: true}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o}))
}

func TestWhatIsRememberedOfVaultsIsNotBelievedWhenItIsDamaged(t *testing.T) {
	dir, identity := sealedVault(t)
	o := Options{Known: filepath.Join(t.TempDir(), "vaults"), Unlock: &Unlocker{Identities: []string{identity}}}
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o}))
	files, err := filepath.Glob(filepath.Join(o.Known, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[0], 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Own(t.Context(), dir, OwnOptions{Options: o, MinFree: -1}); err == nil {
		t.Error("the vault is written into though nobody knows whether it is the one of before")
	}
	if _, err := TakeOver(t.Context(), dir, TakeOverOptions{Options: o}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, ownVault(t, dir, OwnOptions{Options: o}))
}

// put exchanges two folders.
func put(t *testing.T, a, b string) {
	t.Helper()
	aside := a + ".aside"
	for _, move := range [][2]string{{a, aside}, {b, a}, {aside, b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}
