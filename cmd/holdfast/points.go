package main

import (
	"cmp"
	"context"
	"errors"
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
			args, how, err := k.looking(c, "[MACHINE]")
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
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		described, err := o.ask(ctx, w)
		if err != nil {
			return err
		}
		return o.show(k, described, nil)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, unread := o.points(ctx, v)
	if o.machine != "" {
		if points, _, err = service.PointsOf(ctx, v, points, o.machine); err != nil {
			return errors.Join(err, unread)
		}
	}
	states, err := v.States(points)
	unread = errors.Join(unread, err)
	described := make([]api.Point, 0, len(points))
	for i, p := range points {
		described = append(described, service.DescribeState(p, states[i]))
	}
	return o.show(k, described, unread)
}

// show prints points, and returns unread.
func (o pointListing) show(k *console, points []api.Point, unread error) error {
	if o.json {
		return errors.Join(k.json(points), unread)
	}
	if len(points) == 0 && unread == nil {
		k.say("vault %s holds no recovery points%s", o.vault, map[bool]string{true: " yet", false: " in its trash"}[o.listed])
		return nil
	}
	return errors.Join(k.table(o.rows(k, points), 4, 5, 6, 7), unread)
}

// ask has a daemon tell the points.
func (o pointListing) ask(ctx context.Context, w *worker) (points []api.Point, err error) {
	points = []api.Point{}
	if o.listed {
		if points, err = w.Points(ctx, w.vault, o.machine); err != nil {
			return nil, err
		}
	}
	if o.trash {
		trash, err := w.Trash(ctx, w.vault)
		if err != nil {
			return nil, err
		}
		for _, t := range trash {
			if o.machine == "" || t.Machine == o.machine || t.MachineID == o.machine {
				points = append(points, t.Point)
			}
		}
	}
	slices.SortStableFunc(points, func(p, q api.Point) int {
		return cmp.Or(cmp.Compare(p.Machine, q.Machine), cmp.Compare(p.MachineID, q.MachineID), cmp.Compare(p.Seq, q.Seq))
	})
	return points, nil
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

func (o pointListing) rows(k *console, points []api.Point) [][]string {
	rows := [][]string{{"MACHINE", "POINT", "ID", "CONSISTENCY", "SIZE", "PROTECTED", "CHANGED", "STORED"}}
	if o.trash {
		rows[0] = append(rows[0], "TRASH")
	}
	verified := slices.ContainsFunc(points, func(p api.Point) bool { return p.Verified != nil })
	if verified {
		rows[0] = append(rows[0], "VERIFIED")
	}
	for _, p := range points {
		s := p.Sizes
		row := []string{p.Machine, k.label(p, o.local), p.ID, consistency(p),
			formatSize(s.Logical), formatSize(s.Protected), formatSize(s.Changed), formatSize(s.Stored)}
		if o.trash {
			deleted := "-"
			if p.Deleted != nil {
				deleted = "deleted " + k.moment(p.Deleted.Time, o.local)
			}
			row = append(row, deleted)
		}
		if verified {
			since := "-"
			if p.Verified != nil {
				since = k.moment(p.Verified.Time, o.local)
			}
			row = append(row, since)
		}
		rows = append(rows, row)
	}
	return rows
}

// label is the time of a point as it is named, or as the clock on the wall shows it.
func (k *console) label(p api.Point, local bool) string {
	if local {
		return k.moment(p.Time.Time, true)
	}
	return p.Time.Format(blockstore.LabelLayout)
}

// consistency is that of a point in a word or two.
func consistency(p api.Point) string {
	if p.ConsistencyReason == backup.InUse {
		return p.Consistency + " (in use)"
	}
	return p.Consistency
}
