package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "point",
		Usage: "look at single recovery points, and after them",
		Subcommands: []*cli.Command{pointShowCommand(k), pointDeleteCommand(k), pointUndeleteCommand(k), pointLockCommand(k), pointNoteCommand(k),
			pointGiveUpCommand(k)},
	}
}

func pointShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show all about a recovery point",
		ArgsUsage: "MACHINE@POINT...",
		Description: `Shows when and how the point was made, the consistency reached and why, its disks with
their sizes, the configuration kept with it, and what was left out. Points in the trash are
found, too. With --exclusive, shows for one point or several what dropping them frees.`,
		UsageText: "holdfast point show web1@latest --vault /srv/vault\nholdfast point show --exclusive web1@p0123 web1@p4567",
		Flags:     []cli.Flag{exclusiveFlag(), jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			refs, err := pointArgs(c, 1)
			if err != nil {
				return err
			}
			if len(refs) > 1 && !c.Bool("exclusive") {
				return usagef("unexpected argument %q", c.Args().Get(1)).hinted("several points are shown only with --exclusive")
			}
			o, err := k.listing(c)
			if err != nil {
				return err
			}
			if c.Bool("exclusive") {
				return showExclusive(c.Context, k, refs, o)
			}
			return showPoint(c.Context, k, refs[0], o)
		},
	}
}

func showPoint(ctx context.Context, k *console, ref pointRef, o listing) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		described, err := farPoint(ctx, w, ref)
		if err != nil {
			return err
		}
		return showDescribed(k, described, o)
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	p, err := service.FindIn(ctx, v, ref, service.Anywhere)
	if err != nil {
		return err
	}
	state, err := v.State(p)
	if err != nil {
		k.warn(err.Error())
	}
	return showDescribed(k, service.DescribeState(p, state), o)
}

// farPoint has a daemon tell of a point, in the trash or not.
func farPoint(ctx context.Context, w *worker, ref pointRef) (api.Point, error) {
	points, err := w.Points(ctx, w.vault, ref.Machine)
	if ref.Point != "latest" && (err == nil || service.Explain(err).Exit == exitNotFound) {
		trash, e := w.Trash(ctx, w.vault)
		if e != nil {
			return api.Point{}, e
		}
		for _, t := range trash {
			if t.MachineID == ref.Machine || t.Machine == ref.Machine || len(points) > 0 && t.MachineID == points[0].MachineID {
				points, err = append(points, t.Point), nil
			}
		}
	}
	if err != nil {
		return api.Point{}, err
	}
	found, err := far.FindPoint(points, ref)
	if err != nil {
		return api.Point{}, err
	}
	for _, p := range points {
		if p.ID == string(found.ID) {
			return p, nil
		}
	}
	return api.Point{}, blockstore.ErrNotFound // cannot happen: it is one of them
}

func showDescribed(k *console, described api.Point, o listing) error {
	if o.json {
		return k.json(described)
	}
	if err := k.table(pointRows(k, described, o.local)); err != nil {
		return err
	}
	return showDisks(k, described)
}

// showExclusive prints what dropping points frees, one after the other.
func showExclusive(ctx context.Context, k *console, refs []pointRef, o listing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	points, err := service.FindPoints(ctx, v, refs, service.Anywhere)
	if err != nil {
		return err
	}
	sizes, err := v.Exclusive(ctx, points)
	if err != nil {
		return err
	}
	e := service.DescribeExclusive(points, sizes)
	if o.json {
		return k.json(e)
	}
	for i, p := range points {
		k.printf("dropping %s frees %s%s\n", pointName(p), formatSize(sizes[i]), map[bool]string{true: " more"}[i > 0])
	}
	if len(points) > 1 {
		k.printf("together %s\n", formatSize(e.Bytes))
	}
	return nil
}

func pointRows(k *console, p api.Point, local bool) [][]string {
	why := p.Consistency
	if p.ConsistencyAsked != p.Consistency && p.ConsistencyAsked != "" {
		why += ", asked for " + p.ConsistencyAsked
	}
	if p.ConsistencyReason != "" {
		why += " (" + p.ConsistencyReason + ")"
	}
	rows := [][]string{
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
	if v := p.VM; v != nil && v.Name != "" {
		rows = append(rows, []string{"VM", fmt.Sprintf("%q, %s (%s)", v.Name, dash(v.UUID), strings.TrimSpace(v.Kind+" "+v.Host))})
	}
	if q := p.Quiesced; q != nil {
		held := "not frozen"
		if q.WindowMS > 0 {
			held = fmt.Sprintf("frozen for %.1f ms", q.WindowMS)
		}
		rows = append(rows, []string{"guest", held + parenthesis(q.Agent)})
		for _, h := range q.Hooks {
			rows = append(rows, []string{h.Phase + " on the " + h.Place, fmt.Sprintf("%s: %s", h.Command, cmp.Or(h.Error, "done"))})
		}
	}
	if p.Deleted != nil {
		rows = append(rows, []string{"deleted", k.moment(p.Deleted.Time, local) + ", in the trash"})
	}
	if p.Locked != nil {
		rows = append(rows, []string{"locked until", k.moment(p.Locked.Time, local)})
	}
	if p.Verified != nil {
		rows = append(rows, []string{"read back since", k.moment(p.Verified.Time, local)})
	}
	if p.Note != "" {
		rows = append(rows, []string{"note", strings.ReplaceAll(p.Note, "\n", " ")})
	}
	return rows
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
	for _, d := range p.Disks {
		if d.Mode != "" {
			k.printf("disk %s was read by %s%s\n", d.Name, d.Mode, parenthesis(d.ModeReason))
		}
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
