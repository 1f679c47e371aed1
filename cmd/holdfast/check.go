package main

import (
	"context"
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func checkCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "examine the vault",
		ArgsUsage: "[MACHINE@POINT]",
		Description: `Walks all that the vault is made of and proves that it fits together; with --data every
block is read and its hash compared, or with --percent a part of them: what was not read for
longest comes first, so that a run each night reads all in time. With MACHINE@POINT only what
that point names is read. What is damaged is noted in the vault, so that the next
backup that meets the same content stores it again, points that were read back whole say so, and packs
whose header or footer alone is damaged are rewritten, if nobody else writes there just then. Each
fault is listed with every machine, point, disk and offset that it harms: then the exit
code is 4. It is 3 when no fault harms a point.`,
		UsageText: "holdfast check --data --vault /srv/vault\nholdfast check --data --percent 5 --rate 100MiB\nholdfast check --data web1@latest",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "data", Usage: "read every block and compare its hash"},
			&cli.Float64Flag{Name: "percent", Usage: "with --data: read `N` percent, what was not read for longest"},
			&cli.StringFlag{Name: "rate", Aliases: []string{"read-rate"}, Usage: "with --data: read at most `SIZE` a second"},
			&cli.BoolFlag{Name: "read-only", Usage: "write nothing into the vault"},
			stateFlag(), jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o, err := checkOptionsOf(k, c)
			if err != nil {
				return err
			}
			return checkVault(c.Context, k, o)
		},
	}
}

type checkOptions struct {
	use
	machine     string // of the point
	check       api.CheckOptions
	json, quiet bool
}

func checkOptionsOf(k *console, c *cli.Context) (o checkOptions, err error) {
	args, err := takeArgs(c, "[MACHINE@POINT]")
	if err != nil {
		return o, err
	}
	o.json, o.quiet = c.Bool("json"), c.Bool("quiet")
	o.check = api.CheckOptions{Data: c.Bool("data"), Percent: c.Float64("percent"), ReadOnly: c.Bool("read-only")}
	if args[0] != "" {
		ref, err := parsePointRef(args[0])
		if err != nil {
			return o, err
		}
		o.machine, o.check.Point = ref.Machine, ref.Point
	}
	switch p := o.check.Percent; {
	case !o.check.Data && (c.IsSet("percent") || c.IsSet("rate") || o.check.Point != ""):
		return o, usagef("--percent, --rate and MACHINE@POINT are about reading blocks: add --data")
	case c.IsSet("percent") && !(p > 0 && p <= 100):
		return o, usagef("--percent is %v: choose more than 0 and at most 100", p)
	case c.IsSet("percent") && o.check.Point != "":
		return o, usagef("--percent and MACHINE@POINT exclude each other")
	}
	if o.check.Rate, err = rateOf(c); err != nil {
		return o, err
	}
	if o.use, err = k.useOf(c); err != nil || !o.check.Data {
		return o, err
	}
	o.stateDir, err = k.stateDir(c)
	if err != nil && !c.IsSet("percent") {
		return o, nil // a check of everything needs to remember nothing
	}
	return o, err
}

// checkVault prints what a check found; what harms points is an error then.
func checkVault(ctx context.Context, k *console, o checkOptions) error {
	w, err := k.operations(ctx, o.use)
	if err != nil {
		return err
	}
	defer w.close()
	q := api.JobRequest{Kind: api.JobCheck, Machine: o.machine, Check: &o.check}
	found, err := runJob[*api.Check](ctx, k, w, showing{"check", o.check.Data, o.quiet}, q)
	if found == nil {
		return err
	}
	if o.json {
		return errors.Join(k.json(found), err)
	}
	showCheck(k, *found)
	return err
}

func showCheck(k *console, c api.Check) {
	for _, f := range c.Faults {
		k.printf("fault: %s: %s\n", f.Where, f.What)
		for _, h := range f.Harms {
			k.printf("  harms machine %s, point %s, %s\n", h.Machine, h.Point, place(h.Disk, h.Offset, h.Length))
		}
		if len(f.Harms) == 0 {
			k.printf("  harms no recovery point\n")
		}
	}
	how := []string{"structure only; --data reads every block"}
	if c.Data {
		how[0] = formatSize(c.BytesRead) + " read and compared"
	}
	if c.ReadSince != nil {
		how = append(how, "all was read since "+k.moment(c.ReadSince.Time, false))
	}
	k.printf("checked %s, %s, %s in %s and %s (%s)\n", count(c.Points, "point"), count(c.Pages, "page"), count(c.Blocks, "block"),
		count(c.Packs, "pack"), count(c.Segments, "segment"), strings.Join(how, "; "))
	if len(c.Faults) == 0 {
		k.printf("no faults\n")
	}
}

// place says which part of a point something is about; no disk: all of it.
func place(disk string, offset, length int64) string { return service.Place(disk, offset, length) }
