package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointGiveUpCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "give-up",
		Usage:     "drop a damaged recovery point for good",
		ArgsUsage: "MACHINE@POINT",
		Description: `Where a piece of a point's map is damaged, nobody can tell what else the point holds, and
sweep removes nothing from the vault. This drops such a point at once, without trash. What
can still be read of it can be taken out first with restore --skip-damaged; a backup of
the same content may heal it. A point of which nothing is damaged is refused, so is a locked one.
A point whose record is damaged is named by its id.`,
		UsageText: "holdfast point give-up web1@p0123456789abcdef --vault /srv/vault",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT")
			if err != nil {
				return err
			}
			ref, err := parsePointRef(args[0])
			if err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return giveUp(c.Context, k, path, waitOf(c), ref, c.Bool("yes"))
		},
	}
}

func giveUp(ctx context.Context, k *console, path string, wait time.Duration, ref pointRef, yes bool) error {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	o, err := blockstore.Own(ctx, path, blockstore.OwnOptions{
		Options: open, Wait: wait, Waiting: k.waiting, MinFree: -1,
	})
	if err != nil {
		return leaving(ctx, orVaultMissing(path, err), "nothing was changed")
	}
	machine, id, err := service.FindHarmed(ctx, o.Vault, ref)
	if err == nil {
		err = k.confirm(yes, string(id), fmt.Sprintf("point %s of %s is dropped for good", id, ref.Machine))
	}
	if err == nil {
		err = o.GiveUp(ctx, machine, id)
	}
	if errors.Is(err, blockstore.ErrWhole) {
		err = service.Hinted(err, "a point that is whole goes to the trash with `holdfast point delete`")
	}
	err = errors.Join(err, o.Close())
	if err != nil {
		return leaving(ctx, err, "nothing was changed")
	}
	k.printf("gave up point %s of %s\n", id, ref.Machine)
	return nil
}
