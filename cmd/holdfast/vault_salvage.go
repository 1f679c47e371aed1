package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultSalvageCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "salvage",
		Usage:     "build a new vault from what is left of a broken one",
		ArgsUsage: "OUT",
		Description: `Searches every pack of a broken vault, whether or not anything else of it can be read, and
copies whatever still has its hash into a new vault in OUT, which must not exist. Points
of which everything was found are written there as they were; the others are listed with the
ranges that they lost, and written with --keep-harmed only: those ranges are then errors to read,
and no sweep removes anything as long as such a point's map is damaged. The broken vault is only
read, and may lie on a read-only disk. What an interrupted run copied is in OUT.salvaging; the next one
goes on there. Anything lost makes the exit code 4.`,
		UsageText: "holdfast vault salvage /mnt/new/vault --vault /srv/vault",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "keep-harmed", Usage: "write points that lost something, too"},
			&cli.StringFlag{Name: "min-free", Usage: "`SIZE`: leave so much free where OUT lies, or none (default 5 %, or 20GiB if that is more)"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "OUT")
			if err != nil {
				return err
			}
			o := vaultSalvage{out: args[0], keep: c.Bool("keep-harmed"), json: c.Bool("json"), quiet: c.Bool("quiet")}
			if o.from, err = k.vaultPath(c); err != nil {
				return err
			}
			own, err := ownOptionsOf(k, c)
			if err != nil {
				return err
			}
			o.minFree = own.MinFree
			return salvageVault(c.Context, k, o)
		},
	}
}

type vaultSalvage struct {
	from, out         string
	keep, json, quiet bool
	minFree           int64
}

func salvageVault(ctx context.Context, k *console, o vaultSalvage) error {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	open.Warn = func(s string) { k.say("note: %s", s) }
	var report *blockstore.SalvageReport
	err = k.measure("salvage", true, o.quiet, func(set func(done, total int64)) (err error) {
		report, err = blockstore.Salvage(ctx, o.from, o.out, blockstore.SalvageOptions{
			Options: open, KeepHarmed: o.keep, MinFree: o.minFree, Progress: set,
		})
		return err
	})
	if err != nil {
		return leaving(ctx, orVaultMissing(o.from, err), "the same command goes on where this one stopped")
	}
	found := service.DescribeSalvage(report)
	if o.json {
		err = k.json(found)
	} else {
		showSalvage(k, found, o.out)
	}
	if err == nil && report.LostAny() {
		return service.Hinted(&damagedError{fmt.Sprintf("not everything of vault %s could be saved: %s harmed, %s unusable",
			o.from, count(len(found.Harmed), "point"), count(len(found.Lost), "file"))}, "keep the broken vault: `holdfast restore --skip-damaged` takes out of it what harmed points still hold")
	}
	return err
}

func showSalvage(k *console, s api.Salvage, out string) {
	for _, f := range s.Lost {
		k.printf("lost: %s: %s\n", f.Where, f.What)
	}
	for _, h := range s.Harmed {
		kept := "not written"
		if h.Kept {
			kept = "written"
		}
		k.printf("harmed: %s@%s of %s, %s\n", h.Machine, h.Point, k.moment(h.Time.Time, false), kept)
		for _, l := range h.Lost {
			k.printf("  lost %s\n", place(l.Disk, l.Offset, l.Length))
		}
	}
	k.printf("searched %s: copied %s (%s); %d could not be used\n", count(s.Packs, "pack"), count(s.Records, "record"), formatSize(s.Bytes), s.Bad)
	k.printf("saved %s into vault %s\n", count(s.Points, "point"), out)
}
