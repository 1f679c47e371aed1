package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// TakeOverOptions of TakeOver. The zero value works.
type TakeOverOptions struct {
	Options
	// NewID gives the vault an id of its own even where the vault that it is a
	// copy of cannot be seen.
	NewID bool
}

// TakenOver says what TakeOver did.
type TakenOver struct {
	From   Ownership // whom it replaced; zero: nobody, or that cannot be told
	CopyOf string    // path of the vault that this is a copy of; "": of none that is to be seen
	OldID  VaultID   // the vault's id before; empty unless it has another one now
	Info   VaultInfo // of the vault now
}

// TakeOver makes this host the owner of a vault. The owner before, if it still
// lives somewhere, fails with a *BusyError at its next commit or removal. The
// writer stays the same, so the packs that are there go on being used and
// swept. A copy of a vault that can be seen from here gets an id of its own.
// One that is not the vault that was written at its path before is known from then on.
//
// An owner that holds the vault's lock is alive and is not replaced: that is a
// *BusyError.
func TakeOver(ctx context.Context, dir string, o TakeOverOptions) (*TakenOver, error) {
	v, err := Open(ctx, dir, o.Options)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	t, err := v.takeOver(o.NewID)
	if err != nil {
		return nil, fmt.Errorf("take vault %s over: %w", dir, err)
	}
	return t, nil
}

func (v *Vault) takeOver(newID bool) (t *TakenOver, err error) {
	w, err := v.ownWriter()
	if err != nil {
		return nil, err
	}
	c, err := v.lockOwner(w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.lock.Release()) }()
	t = &TakenOver{}
	if !c.unknown {
		t.From = c.last
		if c.last.isOf(v.host) && v.originOf(c.last.Place, c.owner.Place) == original {
			t.CopyOf, newID = c.last.Place.Path, true
		}
	}
	// Before OWNER: with the new id and the old OWNER it is a vault that was moved.
	if newID {
		t.OldID = v.head.ID
		if err := v.renew(); err != nil {
			return nil, err
		}
	}
	c.owner.Clean = false // whatever the last owner said: it may live
	c.owner.Vault = v.head.ID
	if err := v.writeOwner(c); err != nil {
		return nil, err
	}
	if err := v.forgetOldIDs(); err != nil {
		return nil, err
	}
	if err := v.makeKnown(); err != nil {
		return nil, err
	}
	t.Info = v.Info()
	return t, nil
}

// forgetOldIDs removes generations of VAULT that give the vault another id than
// it has now: were the newest one lost, they would count. Only the owner may
// call it.
func (v *Vault) forgetOldIDs() error {
	names, err := v.dir.List(vaultDir)
	if err != nil {
		return err
	}
	for _, n := range names {
		var old vaultRecord
		p := path.Join(vaultDir, n)
		if p == v.name || v.readRecord(vaultKind, p, &old) != nil || old.ID == v.head.ID {
			continue
		}
		if err := v.dir.Remove(p); err != nil {
			return err
		}
	}
	return nil
}

// renew gives the vault another id, and keeps its keys. Headers of packs that
// are there go on telling the old one; OWNER tells which counts.
func (v *Vault) renew() error {
	names, err := v.dir.List(vaultDir)
	if err != nil {
		return err
	}
	head := v.head
	head.ID = VaultID(randomHex(8))
	return v.writeVault(head, names)
}
