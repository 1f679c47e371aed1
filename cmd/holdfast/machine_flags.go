package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// What the commands about protected machines share.

// scratchFlags say where what guests overwrite during a backup is kept. Those that protect was
// given are remembered.
func scratchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "scratch", Usage: "`DIR`: where what the guest overwrites during a backup is kept (default /var/lib/libvirt/qemu/holdfast)"},
		&cli.StringFlag{Name: "scratch-cap", Usage: "`SIZE`: that all backups of this host together may take up there (default: no limit)"},
		&cli.StringFlag{Name: "scratch-free", Usage: "`SIZE`: that stays free in its file system (default 5 %, and at least 1GiB)"},
	}
}

func scratchOf(c *cli.Context) (s api.Scratch, err error) {
	if s.Folder, err = absolute(c.String("scratch")); err != nil {
		return s, err
	}
	if s.Cap, err = sizeOf(c, "scratch-cap", 0); err != nil {
		return s, err
	}
	s.LowWater, err = sizeOf(c, "scratch-free", 0)
	return s, err
}

// machineArgs checks the name of a machine, and reads what says where its vault is and
// how its VM is reached.
func (k *console) machineArgs(c *cli.Context, name string) (vault string, reach backup.Reaching, err error) {
	if err := checkMachine(name); err != nil {
		return "", reach, err
	}
	s, err := scratchOf(c)
	if err != nil {
		return "", reach, err
	}
	reach.Scratch = service.ScratchOf(s)
	vault, err = k.vaultPath(c)
	return vault, reach, err
}

// absolute makes a path hold in any folder; "" stays so.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// owning opens a vault for writing, does that, and leaves it.
func (k *console) owning(ctx context.Context, path string, wait time.Duration, do func(*blockstore.Owner) error) error {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	giveBack, err := k.borrow(ctx, path, wait)
	if err != nil {
		return err
	}
	defer giveBack()
	o, err := blockstore.Own(ctx, path, blockstore.OwnOptions{Options: open, Wait: wait, Waiting: k.waiting, Still: k.notYet(path)})
	if err != nil {
		return leaving(ctx, orUnreachable(path, err), "nothing was changed")
	}
	err = do(o)
	if closed := o.Close(); closed != nil && err == nil {
		k.warn(fmt.Sprintf("it was done, but leaving the vault failed: %v", closed))
	}
	return err
}
