package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon"
)

func pointsCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "points",
		Usage:     "list recovery points",
		ArgsUsage: "[MACHINE]",
		Description: `Lists the recovery points of all machines, or of one, oldest first.
SIZE is the size of the disks as the guest sees them, PROTECTED what of it holds data,
CHANGED what differs from the point before, STORED what the point added to the vault.`,
		UsageText: "holdfast points web1 --vault /srv/vault\nholdfast points --json | jq -r '.[].id'",
		Flags:     []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "[MACHINE]")
			if err != nil {
				return err
			}
			if args[0] != "" {
				if err := checkMachine(args[0]); err != nil {
					return err
				}
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			return listPoints(c.Context, k, args[0], listing{path, c.Bool("json"), c.Bool("local")})
		},
	}
}

// listPoints prints the points of a machine, named by name or id, or of all
// where it is "". Points that cannot be read are an error, after the others were printed.
func listPoints(ctx context.Context, k *console, machine string, o listing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, unread := v.Points(ctx)
	if machine != "" {
		if points, err = pointsOf(points, machine); err != nil {
			return errors.Join(err, unread)
		}
	}
	if o.json {
		return errors.Join(k.json(daemon.DescribePoints(points)), unread)
	}
	if len(points) == 0 && unread == nil {
		k.say("vault %s holds no recovery points yet", o.vault)
		return nil
	}
	rows := [][]string{{"MACHINE", "POINT", "ID", "CONSISTENCY", "SIZE", "PROTECTED", "CHANGED", "STORED"}}
	for _, p := range points {
		when := p.Label()
		if o.local {
			when = k.moment(p.Time, true)
		}
		s := p.Sizes
		rows = append(rows, []string{p.MachineName, when, string(p.ID), string(p.Reached),
			formatSize(s.Logical), formatSize(s.Protected), formatSize(s.Changed), formatSize(s.Stored)})
	}
	return errors.Join(k.table(rows, 4, 5, 6, 7), unread)
}

// pointsOf picks the points of one machine, by its id or a name that it has in
// them.
func pointsOf(points []*blockstore.Point, machine string) ([]*blockstore.Point, error) {
	var picked []*blockstore.Point
	var names []string
	for _, p := range points {
		names = append(names, p.MachineName)
		if p.MachineName == machine || string(p.Machine) == machine {
			picked = append(picked, p)
		}
	}
	if len(picked) > 0 {
		return picked, nil
	}
	err := fmt.Errorf("machine %s: %w", machine, blockstore.ErrNotFound)
	if s := closest(machine, names); s != "" {
		return nil, &hintError{err, fmt.Sprintf("did you mean %s?", s)}
	}
	return nil, &hintError{err, "`holdfast points` lists all machines that have points in this vault"}
}

// findPoint finds the point that ref means. Records of other points that cannot
// be read do not matter, unless it is not found.
func findPoint(ctx context.Context, v *blockstore.Vault, ref pointRef) (*blockstore.Point, error) {
	points, unread := v.Points(ctx)
	of, err := pointsOf(points, ref.machine)
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	p, err := blockstore.FindPoint(of, ref.machine, ref.point)
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	if unread != nil && ref.point == "latest" {
		return nil, &hintError{fmt.Errorf("which point of %s is the latest cannot be told: %w", ref.machine, unread),
			fmt.Sprintf("name the point; the newest that can be read is %s@%s", p.MachineName, p.ID)}
	}
	return p, nil
}
