package main

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// openVault opens a vault for reading, and says in one line when it belongs to
// another host or is a copy. That is no doubt about what is read, so it does
// not count as a warning.
func openVault(ctx context.Context, k *console, path string) (*blockstore.Vault, error) {
	return openVaultWith(ctx, k, path, blockstore.Options{})
}

func openVaultWith(ctx context.Context, k *console, path string, o blockstore.Options) (*blockstore.Vault, error) {
	keyed, err := k.vaultOptions(ctx)
	if err != nil {
		return nil, err
	}
	o.Warn, o.Unlock, o.Known = keyed.Warn, keyed.Unlock, keyed.Known
	if o.Hung == nil {
		o.Hung = k.hung
	}
	v, err := blockstore.Open(ctx, path, o)
	if err != nil {
		return nil, orUnreachable(path, err)
	}
	// Who wrote it matters to nobody who only reads: what cannot be told is not said.
	if st, err := v.Standing(); err == nil && st.String() != "" {
		k.say("warning: %v", st)
	}
	return v, nil
}

// hung ends the process when a vault's file system does not answer: whoever
// reads there cannot be woken up.
func (k *console) hung(err error) {
	if k.exit != nil {
		k.exit(k.report(err))
	}
}

// orUnreachable says what to do about a vault that is missing, or that this
// user may not use.
func orUnreachable(path string, err error) error { return service.OrUnreachable(path, err) }
