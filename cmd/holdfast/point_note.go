package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointNoteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "note",
		Usage:     "write a note on a recovery point",
		ArgsUsage: "MACHINE@POINT [TEXT]",
		Description: `Writes a note on a point, in place of the one that it has; without TEXT that is taken away.
` + "`holdfast point show`" + ` shows it.`,
		UsageText: `holdfast point note web1@latest "before the upgrade" --vault /srv/vault`,
		Flags:     waitFlags(),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT", "[TEXT]")
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
			return notePoint(c.Context, k, path, waitOf(c), ref, args[1])
		},
	}
}

func notePoint(ctx context.Context, k *console, path string, wait time.Duration, ref pointRef, text string) error {
	return k.forgetting(ctx, path, wait, func(o *blockstore.Owner) error {
		p, err := service.FindIn(ctx, o.Vault, ref, service.Anywhere)
		if err != nil {
			return err
		}
		if err := o.Note(p, text); err != nil {
			return err
		}
		k.printf("noted on %s\n", pointName(p))
		return nil
	})
}
