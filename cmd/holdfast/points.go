package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointsCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "points",
		Usage:     "list recovery points",
		ArgsUsage: "[MACHINE]",
		Description: `Lists the recovery points of all machines, or of one, oldest first.
SIZE is the size of the disks as the guest sees them, PROTECTED what of it holds data,
CHANGED what differs from the point before, STORED what the point added to the vault. Where
points were read back by ` + "`check --data`" + `, VERIFIED says since when.`,
		UsageText: "holdfast points web1 --vault /srv/vault\nholdfast points --json | jq -r '.[].id'",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "list those in the trash, too, marked so"},
			&cli.BoolFlag{Name: "trash", Usage: "list only those in the trash"},
			jsonFlag(), localFlag(),
		},
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
			how, err := k.listing(c)
			if err != nil {
				return err
			}
			o := pointListing{how, args[0], !c.Bool("trash"), c.Bool("all") || c.Bool("trash")}
			return listPoints(c.Context, k, o)
		},
	}
}

// pointListing says which points are listed.
type pointListing struct {
	listing
	machine       string // name or id; "": all
	listed, trash bool
}

// listPoints prints points. Those that cannot be read are an error, after the
// others were printed.
func listPoints(ctx context.Context, k *console, o pointListing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, unread := o.points(ctx, v)
	if o.machine != "" {
		if points, _, err = machinePoints(ctx, v, points, o.machine); err != nil {
			return errors.Join(err, unread)
		}
	}
	described := make([]api.Point, 0, len(points))
	for _, p := range points {
		s, err := v.State(p)
		unread = errors.Join(unread, err)
		described = append(described, service.DescribeState(p, s))
	}
	if o.json {
		return errors.Join(k.json(described), unread)
	}
	if len(points) == 0 && unread == nil {
		k.say("vault %s holds no recovery points%s", o.vault, map[bool]string{true: " yet", false: " in its trash"}[o.listed])
		return nil
	}
	return errors.Join(k.table(o.rows(k, points, described), 4, 5, 6, 7), unread)
}

// points returns what is asked for, machine by machine.
func (o pointListing) points(ctx context.Context, v *blockstore.Vault) (points []*blockstore.Point, unread error) {
	if o.listed {
		points, unread = v.Points(ctx)
	}
	if o.trash {
		trash, err := v.Trash(ctx)
		points, unread = append(points, trash...), errors.Join(unread, err)
	}
	slices.SortStableFunc(points, func(p, q *blockstore.Point) int {
		return cmp.Or(cmp.Compare(p.MachineName, q.MachineName), cmp.Compare(p.Machine, q.Machine), p.Compare(q))
	})
	return points, unread
}

func (o pointListing) rows(k *console, points []*blockstore.Point, described []api.Point) [][]string {
	rows := [][]string{{"MACHINE", "POINT", "ID", "CONSISTENCY", "SIZE", "PROTECTED", "CHANGED", "STORED"}}
	if o.trash {
		rows[0] = append(rows[0], "TRASH")
	}
	verified := slices.ContainsFunc(described, func(p api.Point) bool { return p.Verified != nil })
	if verified {
		rows[0] = append(rows[0], "VERIFIED")
	}
	for i, p := range points {
		when := p.Label()
		if o.local {
			when = k.moment(p.Time, true)
		}
		s := p.Sizes
		row := []string{p.MachineName, when, string(p.ID), consistency(p),
			formatSize(s.Logical), formatSize(s.Protected), formatSize(s.Changed), formatSize(s.Stored)}
		if o.trash {
			deleted := "-"
			if d := described[i].Deleted; d != nil {
				deleted = "deleted " + k.moment(d.Time, o.local)
			}
			row = append(row, deleted)
		}
		if verified {
			since := "-"
			if d := described[i].Verified; d != nil {
				since = k.moment(d.Time, o.local)
			}
			row = append(row, since)
		}
		rows = append(rows, row)
	}
	return rows
}

// consistency is that of a point in a word or two.
func consistency(p *blockstore.Point) string {
	if p.Reason == backup.InUse {
		return string(p.Reached) + " (in use)"
	}
	return string(p.Reached)
}

// machinePoints picks the points of the machine that has a name now, whatever it was
// called when they were made, or of one that has it in its points. who names it to
// blockstore.FindPoint.
func machinePoints(ctx context.Context, v *blockstore.Vault, points []*blockstore.Point, name string) (of []*blockstore.Point, who string, err error) {
	if m, err := v.Machine(ctx, name); err == nil {
		who = name
		for _, p := range points {
			if p.Machine != m.ID {
				continue
			}
			if of = append(of, p); p.MachineName != name {
				who = string(m.ID)
			}
		}
		if len(of) > 0 {
			slices.SortFunc(of, (*blockstore.Point).Compare) // not by the names that it had
			return of, who, nil
		}
	}
	of, err = pointsOf(points, name)
	return of, name, err
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
	of, who, err := machinePoints(ctx, v, points, ref.machine)
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	p, err := blockstore.FindPoint(of, who, ref.point)
	if errors.Is(err, blockstore.ErrNotFound) && !errors.Is(err, blockstore.ErrAmbiguous) {
		err = &hintError{err, fmt.Sprintf("`holdfast points %s` lists what there is; POINT is an id or a time in UTC, as it is listed without --local", ref.machine)}
	}
	if err != nil {
		return nil, errors.Join(err, unread)
	}
	if unread != nil && ref.point == "latest" {
		return nil, &hintError{fmt.Errorf("which point of %s is the latest cannot be told: %w", ref.machine, unread),
			fmt.Sprintf("name the point; the newest that can be read is %s@%s", p.MachineName, p.ID)}
	}
	return p, nil
}
