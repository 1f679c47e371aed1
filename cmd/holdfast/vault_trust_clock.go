package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
)

func vaultTrustClockCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "trust-clock",
		Usage: "say that this host's clock is right",
		Description: `Points are deleted, locked and dropped by the clock. When it shows a time before the vault's
newest record, or long after it, nothing of that is done until a person has looked: is this
the time? Then this command keeps in the vault that it is.`,
		UsageText: "holdfast vault trust-clock --vault /srv/vault",
		Flags:     append([]cli.Flag{yesFlag()}, waitFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return trustClock(c.Context, k, path, waitOf(c), c.Bool("yes"))
		},
	}
}

func trustClock(ctx context.Context, k *console, path string, wait time.Duration, yes bool) error {
	now := time.Now().UTC()
	if err := k.confirm(yes, now.Format("2006"), "this host's clock says "+k.moment(now, false)); err != nil {
		return err
	}
	return k.forgetting(ctx, path, wait, func(o *blockstore.Owner) error {
		if err := o.TrustClock(ctx); err != nil {
			return err
		}
		k.printf("the clock of this host is believed: %s\n", k.moment(now, false))
		return nil
	})
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Usage: "confirm without being asked, for scripts"}
}
