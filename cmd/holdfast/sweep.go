package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func sweepCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "sweep",
		Usage: "give the space back of what no recovery point names",
		Description: `Drops the points whose time in the trash is over, removes what no point names any more, and
says why the rest stays. Backups, restores and mounts go on meanwhile. Interrupted at any
moment it loses nothing. It works in a vault that is full to the last byte.
--plan-free names points to give up, the oldest first, never a locked one nor the last of its
machine, and changes nothing.`,
		UsageText: "holdfast sweep --vault /srv/vault\nholdfast sweep --dry-run\nholdfast sweep --plan-free 200GiB",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would go, and remove nothing"},
			&cli.BoolFlag{Name: "now", Usage: "remove what failed backups stored, too, instead of keeping it seven days for their next try"},
			&cli.BoolFlag{Name: "full", Usage: "rewrite every pack that holds anything unneeded: slow, and frees the most"},
			&cli.StringFlag{Name: "plan-free", Usage: "`SIZE`: name the points to give up for so much space"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			u, err := k.useOf(c)
			if err != nil {
				return err
			}
			o := sweepOptions{use: u, json: c.Bool("json"), quiet: c.Bool("quiet")}
			if c.IsSet("plan-free") {
				if c.Bool("now") || c.Bool("full") {
					return usagef("--plan-free only plans: leave --now and --full out")
				}
				bytes, err := sizeOf(c, "plan-free", 0)
				if err != nil {
					return err
				}
				return planFree(c.Context, k, o, bytes)
			}
			return sweepVault(c.Context, k, o, api.SweepOptions{DryRun: c.Bool("dry-run"), Now: c.Bool("now"), Full: c.Bool("full")})
		},
	}
}

// sweepOptions say which vault is swept and how that is told.
type sweepOptions struct {
	use
	json, quiet bool
}

// sweepVault sweeps and prints the report.
func sweepVault(ctx context.Context, k *console, o sweepOptions, options api.SweepOptions) error {
	w, err := k.operations(ctx, o.use)
	if err != nil {
		return err
	}
	defer w.close()
	swept, err := runJob[api.Sweep](ctx, k, w, showing{"sweep", true, o.quiet}, api.JobRequest{Kind: api.JobSweep, Sweep: &options})
	if err != nil {
		return err
	}
	return reportSweep(k, o, swept, options.Full)
}

func reportSweep(k *console, o sweepOptions, swept api.Sweep, full bool) error {
	if o.json {
		return k.json(swept)
	}
	showSweep(k, swept, full)
	return nil
}

func planFree(ctx context.Context, k *console, o sweepOptions, bytes int64) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	plan, err := v.PlanFree(ctx, bytes)
	if err != nil {
		return err
	}
	if o.json {
		return k.json(service.DescribePlan(plan))
	}
	return showPlan(k, plan)
}
