package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func catalogueCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "catalogue",
		Usage:       "keep the names of guests' files at each point, for find MACHINE@all",
		Subcommands: []*cli.Command{catalogueBuildCommand(k), catalogueShowCommand(k), catalogueDropCommand(k)},
	}
}

func catalogueBuildCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "build",
		Usage:     "list the names at points that have no catalogue yet",
		ArgsUsage: "[MACHINE[@POINT]]",
		Description: `Reads the folders of the guest, not the content of its files, at each point that has no catalogue
yet, or one that is damaged, and keeps the names in the vault: as what differs from the catalogue of
the point before. Without MACHINE it does so for all. A daemon does it by itself (catalogue in its
configuration). No restore ever needs one; sweep removes those of points that are gone. Names inside
encrypted volumes are not listed.`,
		UsageText: "holdfast catalogue build web1 --vault /srv/vault\nholdfast catalogue build web1@latest --again",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "again", Usage: "make those anew that are there"},
			&cli.IntFlag{Name: "days", Usage: "only for points of the last `N` days"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			return k.catalogueJob(c, api.CatalogueOptions{Again: c.Bool("again"), Days: c.Int("days")})
		},
	}
}

func catalogueDropCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "drop",
		Usage:       "remove catalogues",
		ArgsUsage:   "MACHINE[@POINT]",
		Description: "Removes the catalogues of a machine, or that of one point and those of later points that build on it.\nThey can be made again as long as the points are there.",
		UsageText:   "holdfast catalogue drop web1 --vault /srv/vault",
		Flags:       append([]cli.Flag{jsonFlag()}, waitFlags()...),
		Action: func(c *cli.Context) error {
			return k.catalogueJob(c, api.CatalogueOptions{Drop: true})
		},
	}
}

// catalogueJob has lists of names made or dropped, and says what was done.
func (k *console) catalogueJob(c *cli.Context, o api.CatalogueOptions) error {
	usage := "[MACHINE[@POINT]]"
	if o.Drop {
		usage = "MACHINE[@POINT]"
	}
	args, err := takeArgs(c, usage)
	if err != nil {
		return err
	}
	if o.Days < 0 {
		return usagef("--days is %d: choose one or more", o.Days)
	}
	q := api.JobRequest{Kind: api.JobCatalogue, Catalogue: &o}
	if q.Machine, err = k.machineAndPoint(args[0], &o); err != nil {
		return err
	}
	u, err := k.useOf(c)
	if err != nil {
		return err
	}
	w, err := k.operations(c.Context, u)
	if err != nil {
		return err
	}
	defer w.close()
	done, err := runJob[*api.CatalogueRun](c.Context, k, w, showing{"list names", false, c.Bool("quiet")}, q)
	if done == nil {
		return err
	}
	if c.Bool("json") {
		return errors.Join(k.json(done), err)
	}
	showCatalogueRun(k, done, o)
	return err
}

// machineAndPoint reads MACHINE or MACHINE@POINT.
func (k *console) machineAndPoint(arg string, o *api.CatalogueOptions) (machine string, err error) {
	if arg == "" {
		return "", nil
	}
	if !strings.Contains(arg, "@") {
		return arg, checkMachine(arg)
	}
	ref, err := parsePointRef(arg)
	if ref.Point != allPoints {
		o.Points = []string{ref.Point}
	}
	return ref.Machine, err
}

func showCatalogueRun(k *console, r *api.CatalogueRun, o api.CatalogueOptions) {
	if o.Drop {
		also := ""
		if len(o.Points) == 1 && r.Dropped > 1 {
			also = ", since those of later points build on it"
		}
		k.printf("%s removed%s, %s freed\n", count(r.Dropped, "catalogue"), also, formatSize(r.Freed))
		return
	}
	var names, entries int64
	for _, b := range r.Built {
		names, entries = names+b.Names, entries+b.New
	}
	text := fmt.Sprintf("listed %s at %s: %d written, %s", count(names, "name"), count(len(r.Built), "point"), entries, formatSize(r.Size))
	if names > 0 {
		text += fmt.Sprintf(", %.1f bytes for each name and point", float64(r.Size)/float64(names))
	}
	k.printf("%s\n", text)
}

func catalogueShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "say which points have a catalogue",
		ArgsUsage: "MACHINE",
		Description: `Lists the points of a machine, oldest first, with how many names each has, how many entries its
catalogue has (all names, or what changed since the one that it builds on), and what it takes in the vault.`,
		UsageText: "holdfast catalogue show web1 --vault /srv/vault",
		Flags:     []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE")
			if err != nil {
				return err
			}
			if err := checkMachine(args[0]); err != nil {
				return err
			}
			u, err := k.useOf(c)
			if err != nil {
				return err
			}
			return showCatalogues(c.Context, k, u, args[0], c.Bool("json"), c.Bool("local"))
		},
	}
}

func showCatalogues(ctx context.Context, k *console, u use, machine string, asJSON, local bool) error {
	f, close, err := k.finder(ctx, u)
	if err != nil {
		return err
	}
	defer close()
	all, err := f.catalogues(ctx, machine)
	if err != nil {
		return err
	}
	if asJSON {
		return k.json(all)
	}
	rows := [][]string{{"POINT", "TIME", "NAMES", "ENTRIES", "SIZE", "BUILDS ON"}}
	for _, c := range all {
		row := []string{c.Point, k.moment(c.Time.Time, local), "none", "", "", ""}
		if c.There && c.Error == "" {
			row = []string{c.Point, k.moment(c.Time.Time, local), strconv.FormatInt(c.Names, 10), strconv.FormatInt(c.New, 10), formatSize(c.Size), "nothing"}
			if !c.Whole {
				row[5] = count(c.Chain-1, "other")
			}
		}
		rows = append(rows, row)
		if c.Error != "" {
			k.warn(c.Error)
		}
	}
	showUnread(k, all)
	return k.table(rows, 2, 3, 4)
}

// showUnread says what could not be read, once for all points that it is so at.
func showUnread(k *console, all []api.Catalogue) {
	at := map[api.GuestProblem][]string{}
	var order []api.GuestProblem
	for _, c := range all {
		for _, u := range c.Unread {
			if at[u] == nil {
				order = append(order, u)
			}
			at[u] = append(at[u], c.Point)
		}
	}
	for _, u := range order {
		where := at[u][0]
		if n := len(at[u]); n > 1 {
			where = fmt.Sprintf("%d points from %s to %s", n, at[u][0], at[u][n-1])
		}
		k.say("note: at %s, %s could not be read: %s", where, u.Path, u.Error)
	}
}
