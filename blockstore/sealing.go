package blockstore

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/keyring"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Errors of keys.
var (
	ErrNoKey     = keyring.ErrNoKey
	ErrWrongKey  = keyring.ErrWrongKey
	ErrNotSealed = errors.New("the vault is not sealed, and a key is given: is it the vault that you mean?")
)

var errNeverSealed = errors.New("the vault is not sealed, which cannot be changed: make a sealed one, and copy the points into it")

// Unlocker is what somebody who opens a sealed vault can give.
type Unlocker = keyring.Unlocker

// Key is one way to open a sealed vault.
type Key = keyring.Key

// NewIdentity makes an age identity, whose secret half is for keeping on paper.
func NewIdentity() (secret, recipient string, err error) { return keyring.NewIdentity() }

// SealWith is one way to open a sealed vault: a passphrase or an age recipient.
type SealWith struct {
	Passphrase string
	Recipient  string // age1...
	Note       string // what the key is for, shown by `vault key list`
	Work       int    // binary logarithm of scrypt's cost; 0: 18
}

func (w SealWith) wrap(v *freshVault) (k keyring.Key, err error) {
	if w.Recipient != "" {
		k, err = keyring.NewRecipient(v.secret, w.Recipient)
	} else {
		k, err = keyring.NewPassphrase(v.secret, w.Passphrase, w.Work)
	}
	k.Note = w.Note
	return k, err
}

// seal wraps the secret for every way to open the vault; a vault without one
// keeps it in the clear.
func (v *freshVault) seal(o CreateOptions) error {
	if o.Like != "" && len(o.Seal) > 0 {
		return fmt.Errorf("a vault like %s has the secret and the keys of that, and is sealed if that is: name no others", o.Like)
	}
	if len(o.Seal) > keyring.MaxKeys {
		return fmt.Errorf("%d keys, at most %d can be", len(o.Seal), keyring.MaxKeys)
	}
	for _, w := range o.Seal {
		k, err := w.wrap(v)
		if err != nil {
			return err
		}
		v.Keys = append(v.Keys, k)
	}
	if len(v.Keys) == 0 {
		v.Secret = v.secret
	}
	return nil
}

// isSealed tells whether the vault's content is encrypted.
func (v *Vault) isSealed() bool { return len(v.head.Keys) > 0 }

func (v *Vault) packSeal() pack.Seal {
	if v.isSealed() {
		return pack.AES256GCM
	}
	return pack.Unsealed
}

// opener returns what decodes the records of a pack.
func (v *Vault) opener(id pack.ID) *pack.Opener {
	if !v.isSealed() {
		id = pack.ID{} // one serves all
	}
	if o, ok := v.openers.Get(id); ok {
		return o
	}
	o := pack.NewOpener(v.keys, id, v.packSeal())
	v.openers.Add(id, o)
	return o
}

// Keys lists the ways to open a sealed vault, without what they wrap.
func (v *Vault) Keys() []keyring.Key {
	keys := slices.Clone(v.head.Keys)
	for i := range keys {
		keys[i].Wrapped = nil
	}
	return keys
}

// AddKey adds a way to open a sealed vault, and returns its id.
func (o *Owner) AddKey(w SealWith) (string, error) {
	if !o.isSealed() {
		return "", errNeverSealed
	}
	if len(o.head.Keys) >= keyring.MaxKeys {
		return "", fmt.Errorf("the vault has %d keys, and no more can be: remove one first", len(o.head.Keys))
	}
	k, err := w.wrap(&freshVault{o.head, o.secret})
	if err != nil {
		return "", err
	}
	return k.ID, o.replaceKeys(append(slices.Clone(o.head.Keys), k))
}

// RemoveKey removes a way to open a sealed vault, never the last one. Copies of
// VAULT in headers of packs that were written before still know it: whoever has
// both the removed key and those packs can open the vault.
func (o *Owner) RemoveKey(id string) error {
	if !o.isSealed() {
		return errNeverSealed
	}
	keys := slices.DeleteFunc(slices.Clone(o.head.Keys), func(k keyring.Key) bool { return k.ID == id })
	switch {
	case len(keys) == len(o.head.Keys):
		return fmt.Errorf("key %.20q: %w", id, ErrNotFound)
	case len(keys) == 0:
		return errors.New("the last key of a sealed vault stays: nobody could open it any more")
	}
	return o.replaceKeys(keys)
}

// replaceKeys writes the next generation of VAULT and removes the ones before.
func (o *Owner) replaceKeys(keys []keyring.Key) error {
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	old, err := o.dir.List(vaultDir)
	if err != nil {
		return err
	}
	head := o.head
	head.Keys = keys
	name, raw, err := o.writeVaultFiles(head, old)
	if err != nil {
		return err
	}
	o.store.mu.Lock() // newPack reads these
	o.head, o.name, o.raw = head, name, raw
	o.store.mu.Unlock()
	for _, n := range old {
		if err := o.dir.Remove(path.Join(vaultDir, n)); err != nil {
			return err
		}
	}
	return nil
}
