package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func trashEmptyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "empty",
		Usage:     "drop points in the trash for good, before their time",
		ArgsUsage: "[MACHINE@POINT...]",
		Description: `Drops all that is in the trash, or the points that are named, and gives their space back as
` + "`holdfast sweep --now`" + ` does. This cannot be undone. Locked points stay: one that is named is
refused. Without this command points leave the trash by themselves when their time is over.`,
		UsageText: "holdfast trash empty --now --vault /srv/vault\nholdfast trash empty web1@p0123456789abcdef --now --yes",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "now", Usage: "needed, since it does not wait for a point's time in the trash to be over"},
			yesFlag(), jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			refs, err := pointArgs(c, 0)
			if err != nil {
				return err
			}
			if !c.Bool("now") {
				return usagef("without --now nothing leaves the trash before its time").
					hinted("`holdfast trash list` says when that is; `holdfast sweep` drops what is due")
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			o := sweepOptions{vault: path, wait: waitOf(c), json: c.Bool("json"), quiet: c.Bool("quiet")}
			return emptyTrash(c.Context, k, o, refs, c.Bool("yes"))
		},
	}
}

func emptyTrash(ctx context.Context, k *console, o sweepOptions, refs []pointRef, yes bool) error {
	return k.forgetting(ctx, o.vault, o.wait, func(owner *blockstore.Owner) error {
		points, err := toDrop(ctx, k, owner, refs)
		if err != nil {
			return err
		}
		if len(points) == 0 {
			if !o.json {
				k.printf("nothing in the trash can be dropped\n")
				return nil
			}
			return k.json(service.DescribeSweep(&blockstore.SweepReport{}, false))
		}
		word := strconv.Itoa(len(points))
		if len(points) == 1 {
			word = points[0].MachineName
		}
		if err := k.confirm(yes, word, "dropping "+count(len(points), "point")+" for good"); err != nil {
			return err
		}
		opts := blockstore.SweepOptions{Now: true}
		for _, p := range points {
			opts.Points = append(opts.Points, p.ID)
		}
		return runSweep(ctx, k, owner, o, opts)
	})
}

// toDrop returns the points that are meant, or all of the trash, without those
// that are locked. A locked one that is named is an error.
func toDrop(ctx context.Context, k *console, owner *blockstore.Owner, refs []pointRef) ([]*blockstore.Point, error) {
	all, err := owner.Trash(ctx)
	if len(refs) > 0 {
		all, err = service.FindPoints(ctx, owner.Vault, refs, service.Trashed)
	}
	if err != nil {
		return nil, err
	}
	var points []*blockstore.Point
	var refused []error
	for _, p := range all {
		s, err := owner.State(p)
		if err != nil {
			return nil, err
		}
		if !s.Locked(time.Now()) {
			points = append(points, p)
			continue
		}
		locked := fmt.Errorf("point %s is %w until %s", pointName(p), blockstore.ErrLocked, k.moment(s.Until, false))
		if len(refs) == 0 {
			k.warn(locked.Error() + " and stays")
			continue
		}
		refused = append(refused, locked)
	}
	return points, errors.Join(refused...)
}
