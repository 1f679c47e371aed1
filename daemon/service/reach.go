package service

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// OrUnreachable says what to do about a vault that is missing, or that this
// user may not use.
func OrUnreachable(path string, err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return OrVaultMissing(path, err)
	}
	if hint := accessHint(path); hint != "" {
		return Hinted(err, hint)
	}
	return err
}

// OrVaultMissing makes of an error that says that there is nothing at path one
// that says that there is no vault.
func OrVaultMissing(path string, err error) error {
	if _, stat := os.Stat(path); err != nil && errors.Is(stat, fs.ErrNotExist) && !errors.Is(err, blockstore.ErrNotVault) {
		return errors.Join(err, blockstore.ErrNotVault)
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
