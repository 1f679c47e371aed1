package main

import (
	"context"
	"errors"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func trashCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "trash",
		Usage:       "look into the trash, and empty it",
		Subcommands: []*cli.Command{trashListCommand(k), trashEmptyCommand(k)},
	}
}

func trashListCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the recovery points in the trash",
		ArgsUsage: "[MACHINE]",
		Description: `Lists deleted points: since when they are in the trash, from when on a sweep drops them, and
until when they are locked. EXCLUSIVE, with --exclusive, is what dropping the point and those
before it in the list frees; finding that out takes a while in a large vault.`,
		UsageText: "holdfast trash list --vault /srv/vault\nholdfast trash list web1 --exclusive",
		Flags:     []cli.Flag{exclusiveFlag(), jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, how, err := k.looking(c, "[MACHINE]")
			if err != nil {
				return err
			}
			return listTrash(c.Context, k, args[0], c.Bool("exclusive"), how)
		},
	}
}

func exclusiveFlag() cli.Flag {
	return &cli.BoolFlag{Name: "exclusive", Usage: "find out how many bytes dropping frees"}
}

func listTrash(ctx context.Context, k *console, machine string, exclusive bool, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil && !exclusive {
		defer w.close()
		trash, err := w.Trash(ctx, w.vault)
		if err != nil {
			return err
		}
		trash = slices.DeleteFunc(trash, func(t api.Trashed) bool { return machine != "" && t.Machine != machine && t.MachineID != machine })
		if o.json {
			return k.json(trash)
		}
		return showTrash(k, trash, false, o)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, unread := v.Trash(ctx)
	if machine != "" && len(points) > 0 {
		if points, err = service.PointsNamed(points, machine); err != nil {
			return errors.Join(err, unread)
		}
	}
	var sizes []int64
	if exclusive {
		if sizes, err = v.Exclusive(ctx, points); err != nil {
			return errors.Join(err, unread)
		}
	}
	trash := make([]api.Trashed, 0, len(points))
	for i, p := range points {
		s, err := v.State(p)
		if err != nil {
			return errors.Join(err, unread)
		}
		t := api.Trashed{Point: service.DescribeState(p, s), DropsOn: api.At(s.Expires(v.Info().TrashDays))}
		if exclusive {
			t.Exclusive = &sizes[i]
		}
		trash = append(trash, t)
	}
	if o.json {
		return errors.Join(k.json(trash), unread)
	}
	return errors.Join(showTrash(k, trash, exclusive, o), unread)
}

func showTrash(k *console, trash []api.Trashed, exclusive bool, o listing) error {
	if len(trash) == 0 {
		k.say("the trash of vault %s is empty", o.vault)
		return nil
	}
	rows := [][]string{{"MACHINE", "POINT", "ID", "DELETED", "DROPPED FROM", "LOCKED UNTIL"}}
	var right []int
	if exclusive {
		rows[0] = append(rows[0], "EXCLUSIVE")
		right = []int{6}
	}
	for _, t := range trash {
		locked := "-"
		if t.Locked != nil {
			locked = k.moment(t.Locked.Time, o.local)
		}
		row := []string{t.Machine, k.label(t.Point, o.local), t.ID, k.moment(t.Deleted.Time, o.local), k.moment(t.DropsOn.Time, o.local), locked}
		if exclusive {
			row = append(row, formatSize(*t.Exclusive))
		}
		rows = append(rows, row)
	}
	return k.table(rows, right...)
}
