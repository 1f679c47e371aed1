package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func pointCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "point",
		Usage:       "look at one recovery point",
		Subcommands: []*cli.Command{pointShowCommand(k)},
	}
}

func pointShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show all about a recovery point",
		ArgsUsage: "MACHINE@POINT",
		Description: `Shows when and how the point was made, the consistency reached and why, its disks with
their sizes, the configuration kept with it, and what was left out.`,
		UsageText: "holdfast point show web1@latest --vault /srv/vault",
		Flags:     []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT")
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
			return showPoint(c.Context, k, ref, listing{path, c.Bool("json"), c.Bool("local")})
		},
	}
}

func showPoint(ctx context.Context, k *console, ref pointRef, o listing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := findPoint(ctx, v, ref)
	if err != nil {
		return err
	}
	described := daemon.DescribePoint(p)
	if o.json {
		return k.json(described)
	}
	if err := k.table(pointRows(k, described, o.local)); err != nil {
		return err
	}
	return showDisks(k, described)
}

func pointRows(k *console, p api.Point, local bool) [][]string {
	why := p.Consistency
	if p.ConsistencyAsked != p.Consistency && p.ConsistencyAsked != "" {
		why += ", asked for " + p.ConsistencyAsked
	}
	if p.ConsistencyReason != "" {
		why += " (" + p.ConsistencyReason + ")"
	}
	return [][]string{
		{"machine", fmt.Sprintf("%s (%s)", p.Machine, p.MachineID)},
		{"point", fmt.Sprintf("%s, number %d", p.ID, p.Seq)},
		{"time", k.moment(p.Time.Time, local)},
		{"committed", k.moment(p.Committed.Time, local)},
		{"consistency", why},
		{"parent", cmp.Or(p.Parent, "none")},
		{"size", formatSize(p.Sizes.Logical)},
		{"protected", formatSize(p.Sizes.Protected)},
		{"changed", formatSize(p.Sizes.Changed)},
		{"stored", formatSize(p.Sizes.Stored)},
		{"read", formatSize(p.Sizes.Read)},
		{"made by", fmt.Sprintf("%s, writer %s", p.Tool, p.Writer)},
	}
}

func showDisks(k *console, p api.Point) error {
	rows := [][]string{{"DISK", "SIZE", "PROTECTED", "CHANGED", "STORED", "FORMAT", "SECTORS", "BUS", "SERIAL", "SOURCE"}}
	for _, d := range p.Disks {
		s := d.Sizes
		rows = append(rows, []string{d.Name, formatSize(d.Size), formatSize(s.Protected), formatSize(s.Changed), formatSize(s.Stored),
			d.Format, fmt.Sprintf("%d/%d", d.LogicalSector, d.PhysicalSector), dash(d.Bus), dash(d.Serial), dash(d.Source)})
	}
	k.printf("\n")
	if err := k.table(rows, 1, 2, 3, 4); err != nil {
		return err
	}
	var files []string
	for _, f := range p.Config {
		files = append(files, fmt.Sprintf("%s (%s)", f.Name, formatSize(f.Size)))
	}
	k.printf("\nconfiguration: %s\n", cmp.Or(strings.Join(files, ", "), "none"))
	for _, l := range p.LeftOut {
		k.printf("left out: disk %s, %s\n", l.Name, l.Reason)
	}
	return nil
}

func dash(s string) string { return cmp.Or(s, "-") }
