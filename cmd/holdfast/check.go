package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func checkCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "examine the vault",
		Description: `Walks all that the vault is made of and proves that it fits together; with --data every
block is read and its hash compared. Nothing is repaired. Each fault is listed with every
machine, point, disk and offset that it harms; any fault makes the exit code 4.`,
		UsageText: "holdfast check --data --vault /srv/vault",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "data", Usage: "read every block and compare its hash"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return checkVault(c.Context, k, checkOptions{path, c.Bool("data"), c.Bool("json"), c.Bool("quiet")})
		},
	}
}

type checkOptions struct {
	vault             string
	data, json, quiet bool
}

// checkVault prints what a check found; any fault is a damagedError.
func checkVault(ctx context.Context, k *console, o checkOptions) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	var report *blockstore.CheckReport
	err = k.measure("check", o.data, o.quiet, func(set func(done, total int64)) error {
		report, err = v.Check(ctx, blockstore.CheckOptions{Data: o.data, Progress: set})
		return err
	})
	if err != nil {
		return leaving(ctx, err, "the check was not finished; a check changes nothing")
	}
	found := daemon.DescribeCheck(report, o.data)
	if o.json {
		err = k.json(found)
	} else {
		showCheck(k, found)
	}
	if err == nil && len(found.Faults) > 0 {
		return &damagedError{fmt.Sprintf("vault %s is damaged: %d faults", o.vault, len(found.Faults))}
	}
	return err
}

func showCheck(k *console, c api.Check) {
	for _, f := range c.Faults {
		k.printf("fault: %s: %s\n", f.Where, f.What)
		for _, h := range f.Harms {
			k.printf("  harms machine %s, point %s, disk %s, offset %d, %d bytes\n", h.Machine, h.Point, h.Disk, h.Offset, h.Length)
		}
		if len(f.Harms) == 0 {
			k.printf("  harms no recovery point\n")
		}
	}
	how := "structure only; --data reads every block"
	if c.Data {
		how = formatSize(c.BytesRead) + " read and compared"
	}
	k.printf("checked %d points, %d pages, %d blocks in %d packs and %d segments (%s)\n",
		c.Points, c.Pages, c.Blocks, c.Packs, c.Segments, how)
	if len(c.Faults) == 0 {
		k.printf("no faults\n")
	}
}
