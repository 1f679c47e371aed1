package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

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
func orUnreachable(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return orVaultMissing(path, err)
	}
	if hint := accessHint(path); hint != "" {
		return service.Hinted(err, hint)
	}
	return err
}

// accessHint tells a user who may not use a vault's folder who may.
func accessHint(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	owner := strconv.FormatUint(uint64(sys.Uid), 10)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	} else {
		owner = "#" + owner
	}
	switch me := os.Geteuid(); {
	case me == int(sys.Uid):
		return fmt.Sprintf("some of its files belong to others: `chown -R %s %s` gives them back", owner, path)
	case me == 0:
		return fmt.Sprintf("root has no rights there, as on NFS with root_squash: run it as the folder's owner, `sudo -u '%s' holdfast ...`", owner)
	}
	return fmt.Sprintf("the vault belongs to user %s, and nobody else may read it: use `sudo -u '%s'`, or give it away with `chown -R`", owner, owner)
}
