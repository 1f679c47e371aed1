package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
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
fault is listed with every machine, point, disk and offset that it harms: then the exit code is 4. It is 3 when no fault harms a point.`,
		UsageText: "holdfast check --data --vault /srv/vault\nholdfast check --data --percent 5 --rate 100MiB\nholdfast check --data web1@latest",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "data", Usage: "read every block and compare its hash"},
			&cli.Float64Flag{Name: "percent", Usage: "with --data: read `N` percent, what was not read for longest"},
			&cli.StringFlag{Name: "rate", Usage: "with --data: read at most `SIZE` a second"},
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
	vault                       string
	point                       *pointRef // nil: all
	check                       blockstore.CheckOptions
	json, quiet, readOnly, data bool
}

func checkOptionsOf(k *console, c *cli.Context) (o checkOptions, err error) {
	args, err := takeArgs(c, "[MACHINE@POINT]")
	if err != nil {
		return o, err
	}
	o.data, o.json, o.quiet, o.readOnly = c.Bool("data"), c.Bool("json"), c.Bool("quiet"), c.Bool("read-only")
	o.check = blockstore.CheckOptions{Data: o.data, Percent: c.Float64("percent")}
	if args[0] != "" {
		ref, err := parsePointRef(args[0])
		if err != nil {
			return o, err
		}
		o.point = &ref
	}
	switch p := o.check.Percent; {
	case !o.data && (c.IsSet("percent") || c.IsSet("rate") || o.point != nil):
		return o, usagef("--percent, --rate and MACHINE@POINT are about reading blocks: add --data")
	case c.IsSet("percent") && !(p > 0 && p <= 100):
		return o, usagef("--percent is %v: choose more than 0 and at most 100", p)
	case c.IsSet("percent") && o.point != nil:
		return o, usagef("--percent and MACHINE@POINT exclude each other")
	}
	if o.check.Rate, err = sizeOf(c, "rate", 0); err != nil {
		return o, err
	}
	if c.IsSet("rate") && o.check.Rate <= 0 {
		return o, usagef("--rate is 0")
	}
	if o.vault, err = k.vaultPath(c); err != nil || !o.data {
		return o, err
	}
	o.check.StateDir, err = k.stateDir(c)
	if err != nil && !c.IsSet("percent") {
		return o, nil // a check of everything needs to remember nothing
	}
	return o, err
}

// checkVault prints what a check found; what harms points is a damagedError.
func checkVault(ctx context.Context, k *console, o checkOptions) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	report, err := runCheck(ctx, k, v, o)
	if err != nil {
		return leaving(ctx, err, "the check was not finished; a check changes nothing, and one with --percent goes on where this one stopped")
	}
	if !o.readOnly {
		k.noteChecked(ctx, o, report)
	}
	found := service.DescribeCheck(report, o.data)
	if o.json {
		err = k.json(found)
	} else {
		showCheck(k, found)
	}
	switch {
	case err != nil || len(found.Faults) == 0:
		return err
	case report.Harmed():
		return &damagedError{fmt.Sprintf("vault %s is damaged: %s", o.vault, count(len(found.Faults), "fault"))}
	}
	k.warn(fmt.Sprintf("vault %s has %s that harm no recovery point", o.vault, count(len(found.Faults), "fault")))
	return nil
}

func runCheck(ctx context.Context, k *console, v *blockstore.Vault, o checkOptions) (report *blockstore.CheckReport, err error) {
	var point *blockstore.Point
	if o.point != nil {
		if point, err = service.FindPoint(ctx, v, *o.point); err != nil {
			return nil, err
		}
	}
	err = k.measure("check", o.data, o.quiet, func(set func(done, total int64)) (err error) {
		o.check.Progress = set
		if point != nil {
			report, err = v.CheckPoint(ctx, point, o.check)
		} else {
			report, err = v.Check(ctx, o.check)
		}
		return err
	})
	return report, err
}

// noteChecked tells the vault what a check found, if this process can become its
// owner at once.
func (k *console) noteChecked(ctx context.Context, o checkOptions, r *blockstore.CheckReport) {
	if len(r.Damaged)+len(r.Torn) == 0 && (r.ReadSince.IsZero() || r.Points == 0) {
		return
	}
	failed := func(err error) {
		k.say("note: what was found was not noted in the vault: %v", err)
	}
	// Files of another user's could not be read by the vault's own.
	var st syscall.Stat_t
	if err := syscall.Stat(o.vault, &st); err != nil || int(st.Uid) != os.Geteuid() {
		failed(errors.Join(errors.New("the vault belongs to another user"), err))
		return
	}
	open, err := k.vaultOptions(ctx)
	if err != nil {
		failed(err)
		return
	}
	owner, err := blockstore.Own(ctx, o.vault, blockstore.OwnOptions{Options: open, MinFree: -1})
	if err != nil {
		failed(err)
		return
	}
	_, good, err := owner.NoteDamage(ctx, r.Damaged)
	if err == nil {
		_, err = owner.NoteVerified(ctx, r)
	}
	if err == nil {
		var mended int
		if mended, err = owner.Mend(ctx, r.Torn); mended > 0 {
			k.say("note: %s with a damaged header or footer rewritten: nothing in them was lost", count(mended, "pack"))
		}
	}
	if closed := owner.Close(); err == nil {
		err = closed
	}
	if good > 0 {
		k.say("note: %d records that were noted as damaged can be read again", good)
	}
	if err != nil {
		failed(err)
	}
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
