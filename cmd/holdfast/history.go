package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func historyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "history",
		Usage:     "list the versions of a file over all points",
		ArgsUsage: "MACHINE:PATH",
		Description: `Lists what a file of a guest was at each point of its machine, one line for points that follow one
another and hold the same: the first and the last of them, size, time of change, SHA-256 of the
content, and what differs from the version before. It follows the path: where nothing is there,
where it is a folder or a link, and where a point cannot be read, that is a line, too. Links are
followed. MACHINE:VOLUME:PATH looks into one volume.

Points share what did not change, and blocks that are the same are not read again: a file that
never changed costs little more than one point. ` + "`holdfast cp`" + ` takes a version out.`,
		UsageText: "holdfast history web1:/etc/passwd\nholdfast history web1:/srv/db/data --since 30d --no-checksum\nholdfast history 'win1:C:\\Users\\Ann\\report.xlsx' --json",
		Flags: append(guestKeyFlags(),
			&cli.StringFlag{Name: "since", Usage: "only points from `TIME` on: a date, a time, or an age such as 30d"},
			&cli.StringFlag{Name: "until", Usage: "only points up to `TIME`"},
			&cli.BoolFlag{Name: "no-checksum", Usage: "tell versions apart without their checksums: large files that change need not be read as a whole"},
			jsonFlag(), localFlag(),
		),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE:PATH")
			if err != nil {
				return err
			}
			o := historyOptions{noSums: c.Bool("no-checksum"), json: c.Bool("json"), local: c.Bool("local"), quiet: c.Bool("quiet")}
			if o.ref, err = parseAllRef(args[0]); err != nil {
				return err
			}
			now := time.Now()
			if o.since, err = timeFlag(c, "since", now); err != nil {
				return err
			}
			if o.until, err = timeFlag(c, "until", now); err != nil {
				return err
			}
			return withTimeline(c, k, o.ref.point.Machine, func(t api.Timeline, vault string) error { return showHistory(c.Context, k, t, vault, o) })
		},
	}
}

type historyOptions struct {
	ref          guestRef
	since, until time.Time // zero: no bound
	noSums       bool
	json, local  bool
	quiet        bool
}

// parseAllRef reads MACHINE:PATH, or MACHINE:VOLUME:PATH: a place in all points of a
// machine. MACHINE@all is understood, too.
func parseAllRef(s string) (guestRef, error) {
	machine, rest, found := strings.Cut(s, ":")
	if !found || rest == "" {
		return guestRef{}, usagef("%q names no path", s).hinted("write MACHINE:PATH, for example web1:/etc/passwd")
	}
	if !strings.Contains(machine, "@") {
		machine += "@all"
	}
	r, err := parseGuestRef(machine + ":" + rest)
	if err == nil && r.point.Point != "all" {
		err = usagef("%q names one point", s).hinted("a history is one of all points: write %s:PATH; --since and --until choose among them", r.point.Machine)
	}
	return r, err
}

func showHistory(ctx context.Context, k *console, t api.Timeline, vault string, o historyOptions) error {
	q := api.HistoryQuery{Vault: vault, Machine: o.ref.point.Machine, Volume: o.ref.volume, Path: o.ref.path, NoSums: o.noSums}
	for to, at := range map[**api.Time]time.Time{&q.Since: o.since, &q.Until: o.until} {
		if !at.IsZero() {
			*to = &api.Time{Time: at}
		}
	}
	var h api.FileHistory
	err := k.measure("points", false, o.quiet, func(set func(done, total int64)) (err error) {
		h, err = t.GuestHistory(ctx, q, set)
		return err
	})
	if err != nil {
		return err
	}
	for _, w := range h.Warnings {
		k.warn(w)
	}
	return o.show(k, &h)
}

// show prints a history. Versions that cannot be read are warnings, damaged ones an error.
func (o *historyOptions) show(k *console, h *api.FileHistory) error {
	var damaged error
	for _, v := range h.Versions {
		if v.Damaged {
			damaged = &damagedError{"not all versions can be read: some of them are damaged"}
		}
		if v.State == "unreadable" || v.State == "file" && v.Error != "" {
			k.warn(fmt.Sprintf("%s: %s", v.First.Time.Format(blockstore.LabelLayout), v.Error))
		}
	}
	if o.json {
		if err := k.json(h); err != nil {
			return err
		}
		return errors.Join(damaged, o.never(h))
	}
	if err := o.never(h); err != nil {
		return err
	}
	if err := k.table(o.rows(k, h), 2, 4); err != nil {
		return err
	}
	if o.quiet {
		return damaged
	}
	k.say("%s, %s; looked into %s: %s of %s read", count(len(h.Versions), "version"), count(h.Points, "point"),
		count(h.Cost.Opened, "point"), count(int(h.Cost.Blocks), "block"), fmt.Sprint(h.Cost.DiskBlocks))
	for i := len(h.Versions) - 1; i >= 0; i-- {
		if v := h.Versions[i]; v.State == "file" && v.Error == "" && len(h.Versions) > 1 {
			volume := ""
			if h.Volume != "" {
				volume = h.Volume + ":"
			}
			k.say("hint: `holdfast cp %s .` takes a version out, by its FIRST or LAST",
				quoted(fmt.Sprintf("%s@%s:%s%s", o.ref.point.Machine, v.First.Time.Format(blockstore.LabelLayout), volume, h.Path)))
			break
		}
	}
	return damaged
}

// never returns an error where none of the points has anything at the path.
func (o *historyOptions) never(h *api.FileHistory) error {
	for _, v := range h.Versions {
		if v.State != "absent" {
			return nil
		}
	}
	return service.Hinted(fmt.Errorf("%s:%s was there at none of %s: %w", o.ref.point.Machine, h.Path, count(h.Points, "point"), fs.ErrNotExist),
		fmt.Sprintf("`holdfast find %s@all --name %s` finds files by their names", o.ref.point.Machine, quoted(lastName(h.Path))))
}

// lastName is that of a path as Linux or Windows writes it.
func lastName(p string) string { return path.Base(strings.ReplaceAll(p, `\`, "/")) }

func (o *historyOptions) rows(k *console, h *api.FileHistory) [][]string {
	rows := [][]string{{"FIRST", "LAST", "POINTS", "IS", "SIZE", "MODIFIED", "SHA256", "CHANGED"}}
	label := func(t api.Time) string {
		if o.local {
			return k.moment(t.Time, true)
		}
		return t.Format(blockstore.LabelLayout)
	}
	for _, v := range h.Versions {
		row := []string{label(v.First.Time), label(v.Last.Time), fmt.Sprint(v.Points), v.State, "-", "-", "-", changeWords(v)}
		if v.State == "file" {
			row[4] = formatSize(v.Size)
		}
		if v.Modified != nil {
			row[5] = k.moment(*v.Modified, o.local)
		}
		if v.SHA256 != "" {
			row[6] = v.SHA256[:16]
		}
		rows = append(rows, row)
	}
	return rows
}

// changeWords say what differs from the version before, and what there is to know beside.
func changeWords(v api.FileVersion) string {
	var words []string
	for _, c := range v.Changes {
		switch c {
		case "mode":
			c += " " + v.Mode
		case "owner":
			c += fmt.Sprintf(" %d:%d", v.UID, v.GID)
		}
		words = append(words, c)
	}
	for _, more := range [][2]string{{"-> ", v.Target}, {"renamed to ", v.Renamed}, {"by a link, it is ", v.Real}, {"", v.Error}} {
		if more[1] != "" {
			words = append(words, more[0]+more[1])
		}
	}
	if len(words) == 0 {
		return "-"
	}
	return strings.Join(words, ", ")
}
