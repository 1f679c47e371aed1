package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointDeleteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "move recovery points to the trash",
		ArgsUsage: "MACHINE@POINT...",
		Description: `Moves points to the trash: they are not listed, mounted or latest any more, and
` + "`holdfast point undelete`" + ` brings them back. A sweep drops them for good when their time there is
over (14 days unless the vault says otherwise) and any lock has ended; only that frees space.`,
		UsageText: "holdfast point delete web1@2026-11-22T22-00-05Z\nholdfast point delete web1@p0123 db1@p4567 --vault /srv/vault",
		Flags:     waitFlags(),
		Action:    onPoints(k, deletePoints),
	}
}

// onPoints calls do with the points that the arguments name.
func onPoints(k *console, do func(ctx context.Context, k *console, path string, wait time.Duration, refs []pointRef) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		refs, err := pointArgs(c, 1)
		if err != nil {
			return err
		}
		path, err := k.vaultPath(c)
		if err != nil {
			return err
		}
		return do(c.Context, k, path, waitOf(c), refs)
	}
}

// deletePoints deletes all points or, if one is not found, none.
func deletePoints(ctx context.Context, k *console, path string, wait time.Duration, refs []pointRef) error {
	return k.forgetting(ctx, path, wait, func(o *blockstore.Owner) error {
		points, err := service.FindPoints(ctx, o.Vault, refs, service.Listed)
		if err != nil {
			return err
		}
		for i, p := range points {
			if err := o.Delete(p); err != nil {
				return leaving(ctx, err, fmt.Sprintf("%d of %d points were deleted", i, len(points)))
			}
			s, err := o.State(p)
			if err != nil {
				return err
			}
			k.printf("deleted %s; until %s it can be undeleted\n", pointName(p), s.Expires(o.Info().TrashDays).Format("2006-01-02"))
			if s.Locked(time.Now()) {
				k.say("note: it is locked, and takes space until %s", k.moment(s.Until, false))
			}
		}
		return nil
	})
}

func pointUndeleteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "undelete",
		Usage:       "take recovery points out of the trash",
		ArgsUsage:   "MACHINE@POINT...",
		Description: "Takes points out of the trash. `holdfast trash` lists what is in it.",
		UsageText:   "holdfast point undelete web1@p0123456789abcdef --vault /srv/vault",
		Flags:       waitFlags(),
		Action:      onPoints(k, undeletePoints),
	}
}

func undeletePoints(ctx context.Context, k *console, path string, wait time.Duration, refs []pointRef) error {
	return k.forgetting(ctx, path, wait, func(o *blockstore.Owner) error {
		points, err := service.FindPoints(ctx, o.Vault, refs, service.Trashed)
		if err != nil {
			return err
		}
		for _, p := range points {
			if err := o.Undelete(p); err != nil {
				return err
			}
			k.printf("undeleted %s\n", pointName(p))
		}
		return nil
	})
}
