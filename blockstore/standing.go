package blockstore

import (
	"errors"
	"fmt"
	"time"
)

// Standing is whose a vault is, seen from this host.
type Standing struct {
	Owner     Ownership // who wrote into it last; zero: nobody did, or it cannot be told
	OtherHost bool      // that was on another host
	// CopyOf is the path at which the vault that this is a copy of can still be
	// seen; "" when it is none, or that cannot be told.
	CopyOf string
	// Other is set when this host wrote another vault at its path before.
	Other *OtherVaultError
}

// Standing tells whose the vault is. It neither waits nor locks.
func (v *Vault) Standing() (s Standing, err error) {
	errors.As(v.checkKnown(), &s.Other)
	w, err := v.onlyWriter()
	if err != nil || w == "" {
		return s, err
	}
	o, err := v.lookAtOwner(w)
	if isNotExist(err) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s = Standing{Other: s.Other, Owner: o, OtherHost: !o.isOf(v.host)}
	if !s.OtherHost && v.originOf(o.Place, locate(v.dir.Root())) == original {
		s.CopyOf = o.Place.Path
	}
	return s, nil
}

// String says what a reader should know, in one line; "" when there is nothing.
func (s Standing) String() string {
	switch {
	case s.Other != nil:
		return s.Other.Error()
	case s.OtherHost:
		return fmt.Sprintf("this vault belongs to host %s, which last opened it for writing at %s; opened for reading",
			s.Owner.Host, s.Owner.Opened.UTC().Format(time.RFC3339))
	case s.CopyOf != "":
		return fmt.Sprintf("this vault is a copy of %s; opened for reading", s.CopyOf)
	}
	return ""
}

// CopyError reports a vault that is a copy of one that is still there. To write
// into both would make two different vaults of one id.
type CopyError struct {
	Vault, Original string // paths
}

func (e *CopyError) Error() string {
	return fmt.Sprintf("vault %s is a copy of %s, which is still there and has the same id", e.Vault, e.Original)
}

// checkPlace refuses to own a copy of a vault that is still there. It tells
// whether the vault lies where its last owner had it.
func (v *Vault) checkPlace(last Ownership, here Place) (unmoved bool, err error) {
	switch v.originOf(last.Place, here) {
	case original:
		return false, &CopyError{Vault: v.dir.Root(), Original: last.Place.Path}
	case moved:
		if last.Place.sameFolder(here) {
			return true, nil // renamed: nothing was copied
		}
		v.warn(fmt.Sprintf("vault %s was at %s before; if that still exists and this is a copy, run `holdfast vault takeover --new-id` here before anything is written into both",
			v.dir.Root(), last.Place.Path))
		return false, nil
	}
	return last.Place.Path == "" || last.Place.sameFolder(here) || here.Inode == 0, nil
}
