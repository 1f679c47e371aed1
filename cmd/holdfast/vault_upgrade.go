package main

import (
	"context"

	"github.com/urfave/cli/v2"
)

// newestFormat is the newest format of vaults that this program writes; see blockstore/FORMAT.md.
const newestFormat = 1

func vaultUpgradeCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "upgrade",
		Usage: "raise a vault's format to the newest one",
		Description: `Nothing else raises the format of a vault: releases that know a newer one go on writing the one that
the vault has, so that the release before can still read it. There is one format so far; this
command says so, and changes nothing.`,
		UsageText: "holdfast vault upgrade --vault /srv/vault",
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return vaultUpgrade(c.Context, k, path)
		},
	}
}

// vaultUpgrade opens the vault, which refuses formats that are not known.
func vaultUpgrade(ctx context.Context, k *console, path string) error {
	v, err := openVault(ctx, k, path)
	if err != nil {
		return err
	}
	defer v.Close()
	k.printf("vault %s has format %d, the newest: there is nothing to raise\n", v.Info().Name, newestFormat)
	return nil
}
