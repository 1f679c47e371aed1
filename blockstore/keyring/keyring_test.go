package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

func given(passphrase string) *Unlocker {
	return &Unlocker{Passphrase: func() (string, error) { return passphrase, nil }}
}

func mustWrap(t testing.TB, s content.Secret, passphrase string) Key {
	t.Helper()
	k, err := NewPassphrase(s, passphrase, 10)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAnyKeyOpensAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	s := content.NewSecret()
	identity, recipient, err := NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewRecipient(s, recipient)
	if err != nil {
		t.Fatal(err)
	}
	keys := []Key{mustWrap(t, s, "one"), k, mustWrap(t, s, "two")}
	asked := 0
	ask := func() (string, error) { asked++; return "two", nil }
	for name, u := range map[string]*Unlocker{
		"first": given("one"), "last": given("two"), "identity": {Identities: []string{"# a remark\n" + identity + "\n"}},
		"a person": {Ask: ask}, "identity and passphrase": {Identities: []string{identity}, Ask: func() (string, error) { t.Error("asked"); return "", nil }},
	} {
		if got, err := u.Unlock(keys); err != nil || got != s {
			t.Errorf("%s: %v", name, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	other, _, _ := NewIdentity()
	for name, c := range map[string]struct {
		u    *Unlocker
		want error
	}{
		"nothing": {nil, ErrNoKey}, "wrong": {given("three"), ErrWrongKey}, "another": {&Unlocker{Identities: []string{other}}, ErrWrongKey},
	} {
		if got, err := c.u.Unlock(keys); !errors.Is(err, c.want) || got != (content.Secret{}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := given("one").Unlock(keys[1:2]); !errors.Is(err, ErrWrongKey) {
		t.Errorf("a passphrase where none opens: %v", err)
	}
	for _, text := range []string{"", "AGE-SECRET-KEY-1", "password"} {
		if _, err := (&Unlocker{Identities: []string{text}}).Unlock(keys); err == nil {
			t.Errorf("opened by identity %q", text)
		}
	}
}

func TestWeakOrImpossibleKeysAreNotMade(t *testing.T) {
	t.Parallel()
	s := content.NewSecret()
	for _, err := range []error{
		second(NewPassphrase(s, "", 10)), second(NewPassphrase(s, "x", 30)), second(NewPassphrase(s, "x", -1)),
		second(NewRecipient(s, "")), second(NewRecipient(s, "age1x")), second(NewRecipient(s, "ssh-ed25519 AAAA")),
	} {
		if err == nil {
			t.Error("made")
		}
	}
}

func second(_ Key, err error) error { return err }

// TestAHostileVaultCannotMakeOpeningCostly names a cost of scrypt that would
// take 1 TiB of memory, and more keys than anybody tries.
func TestAHostileVaultCannotMakeOpeningCostly(t *testing.T) {
	t.Parallel()
	k := mustWrap(t, content.NewSecret(), "x")
	costly := k
	costly.Wrapped = bytes.Replace(k.Wrapped, []byte(" 10\n"), []byte(" 30\n"), 1)
	if bytes.Equal(costly.Wrapped, k.Wrapped) {
		t.Fatalf("no cost in %q", k.Wrapped)
	}
	if _, err := given("x").Unlock([]Key{costly}); !errors.Is(err, ErrWrongKey) {
		t.Errorf("opened: %v", err)
	}
	many := make([]Key, MaxKeys+1)
	for i := range many {
		many[i] = k
	}
	if _, err := given("x").Unlock(many); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%d keys: %v", len(many), err)
	}
}

func TestADamagedKeyIsToldFromAWrongOne(t *testing.T) {
	t.Parallel()
	k := mustWrap(t, content.NewSecret(), "x")
	if Damaged([]Key{k}) || Damaged(nil) {
		t.Error("a whole key counts as damaged")
	}
	for i := range k.Wrapped {
		bad := k
		bad.Wrapped = bytes.Clone(k.Wrapped)
		bad.Wrapped[i] ^= 1
		if !Damaged([]Key{k, bad}) {
			t.Fatalf("a bit of byte %d is not missed", i)
		}
	}
	k.Kind = Recipient
	if !Damaged([]Key{k}) {
		t.Error("another kind counts as whole")
	}
}

// FuzzUnlock tries wrapped forms that somebody else wrote.
func FuzzUnlock(f *testing.F) {
	var s content.Secret
	identity, recipient, err := NewIdentity()
	if err != nil {
		f.Fatal(err)
	}
	k, err := NewRecipient(s, recipient)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Wrapped, Recipient)
	f.Add(mustWrap(f, s, "x").Wrapped, Passphrase)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt "+base64.RawStdEncoding.EncodeToString(make([]byte, 16))+" 30\n"), Passphrase)
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, wrapped []byte, kind string) {
		if i := bytes.Index(wrapped, []byte("-> scrypt ")); i >= 0 && !bytes.Equal(wrapped, k.Wrapped) && kind == Passphrase {
			// A cost that is allowed takes seconds: not here.
			if !bytes.Contains(wrapped[i:], []byte(" 10\n")) && !bytes.Contains(wrapped[i:], []byte(" 30\n")) {
				return
			}
		}
		u := &Unlocker{Identities: []string{identity}, Passphrase: func() (string, error) { return "x", nil }}
		got, err := u.Unlock([]Key{{Kind: kind, Wrapped: wrapped}})
		if err == nil && got != s {
			t.Errorf("opened to %x", got)
		}
	})
}
