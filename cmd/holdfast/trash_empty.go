package main

import (
	"context"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
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
			u, err := k.useOf(c)
			if err != nil {
				return err
			}
			o := sweepOptions{use: u, json: c.Bool("json"), quiet: c.Bool("quiet")}
			return emptyTrash(c.Context, k, o, refs, c.Bool("yes"))
		},
	}
}

// emptyTrash drops points for good: those that a person saw, where one is asked.
func emptyTrash(ctx context.Context, k *console, o sweepOptions, refs []pointRef, yes bool) error {
	w, err := k.operations(ctx, o.use)
	if err != nil {
		return err
	}
	defer w.close()
	options := api.EmptyTrashOptions{Points: refs, DryRun: !yes}
	ask := api.JobRequest{Kind: api.JobEmptyTrash, EmptyTrash: &options}
	dropped, err := runJob[api.Sweep](ctx, k, w, showing{"sweep", true, o.quiet}, ask)
	if err != nil {
		return err
	}
	if n := len(dropped.Dropped); options.DryRun && n > 0 {
		word := strconv.Itoa(n)
		if n == 1 {
			word = dropped.Dropped[0].Machine
		}
		if err := k.confirm(yes, word, "dropping "+count(n, "point")+" for good"); err != nil {
			return err
		}
		options = api.EmptyTrashOptions{}
		for _, p := range dropped.Dropped {
			options.Points = append(options.Points, api.PointRef{Machine: p.MachineID, Point: p.ID})
		}
		if dropped, err = runJob[api.Sweep](ctx, k, w, showing{"sweep", true, o.quiet}, ask); err != nil {
			return err
		}
	}
	if len(dropped.Dropped) == 0 && !o.json {
		k.printf("nothing in the trash can be dropped\n")
		return nil
	}
	dropped.Dry = false
	return reportSweep(k, o, dropped, false)
}
