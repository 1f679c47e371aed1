package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/catalogue"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// allPoints stands where a point is named, for all of them.
const allPoints = "all"

// buildFew is how many catalogues a search makes by itself.
const buildFew = 3

// findAllFlags are those of find that are about all points.
func findAllFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "deleted", Usage: "with MACHINE@all: only what the newest point does not have"},
		&cli.StringFlag{Name: "since", Usage: "with MACHINE@all: only points of `TIME` and later"},
		&cli.StringFlag{Name: "until", Usage: "with MACHINE@all: only points of `TIME` and earlier"},
		&cli.StringFlag{Name: "build", Value: "few", Usage: "with MACHINE@all: make missing catalogues: `WHICH` is few (where no more than three are), all or none"},
		&cli.BoolFlag{Name: "local", Usage: "with MACHINE@all: show times in the local time zone"},
	}
}

// findAllOptions say what is looked for over all points of a machine.
type findAllOptions struct {
	use
	query api.SearchQuery
	build string

	json, zero, local, quiet bool
}

// onlyAll refuses flags that are about all points where one is named.
func onlyAll(c *cli.Context, ref guestRef) error {
	for _, name := range []string{"deleted", "since", "until", "build", "local"} {
		if c.IsSet(name) {
			return usagef("--%s is about all points of a machine, and one is named", name).hinted("write %s@all", ref.point.Machine)
		}
	}
	return nil
}

func findAllOptionsOf(c *cli.Context, k *console, ref guestRef, f fileFilter, now time.Time) (o findAllOptions, err error) {
	o.json, o.zero, o.local, o.quiet = c.Bool("json"), c.Bool("print0"), c.Bool("local"), c.Bool("quiet")
	o.query = api.SearchQuery{Machine: ref.point.Machine, Volume: ref.volume, Path: ref.path, Name: f.name, Pattern: c.String("path"), Type: c.String("type"),
		Least: f.least, Most: f.most, Deleted: c.Bool("deleted")}
	if strings.EqualFold(ref.volume, "c") {
		o.query.Volume = ""
	}
	if !f.newer.IsZero() {
		o.query.Newer = &f.newer
	}
	if !f.older.IsZero() {
		o.query.Older = &f.older
	}
	for name, to := range map[string]**api.Time{"since": &o.query.Since, "until": &o.query.Until} {
		at, err := timeFlag(c, name, now)
		if err != nil {
			return o, err
		}
		if c.IsSet(name) {
			t := api.At(at)
			*to = &t
		}
	}
	switch o.build = c.String("build"); o.build {
	case "few", "all", "none":
	default:
		return o, usagef("--build %q is not known: few, all or none", o.build)
	}
	for _, name := range []string{"guest-passphrase-file", "guest-key-file"} {
		if c.IsSet(name) {
			return o, usagef("--%s is of no use here: names in encrypted volumes are not kept", name)
		}
	}
	o.use, err = k.useOf(c)
	return o, err
}

// findInAll searches all points of a machine, by their catalogues.
func findInAll(ctx context.Context, k *console, o findAllOptions) error {
	found, close, err := k.finder(ctx, o.use)
	if err != nil {
		return err
	}
	defer close()
	if o.build != "none" {
		if err := buildMissing(ctx, k, o, found); err != nil {
			return err
		}
	}
	show := &findAllShower{k: k, o: o, enc: json.NewEncoder(k.out)}
	show.enc.SetEscapeHTML(false)
	searched, err := found.search(ctx, o.query, show.hit)
	if err != nil {
		return err
	}
	return show.end(searched)
}

// finder is who searches: this process, or a daemon.
type finder interface {
	search(ctx context.Context, q api.SearchQuery, hit func(h api.SearchHit, path string) error) (api.Searched, error)
	catalogues(ctx context.Context, machine string) ([]api.Catalogue, error)
}

// finder returns who searches, and what ends that.
func (k *console) finder(ctx context.Context, u use) (finder, func(), error) {
	if w := k.reader(ctx, u.vault); w != nil {
		f, ok := w.Operations.(api.Finder)
		if ok {
			return &farFinder{f, w.vault}, w.close, nil
		}
		w.close()
	}
	v, err := openVault(ctx, k, u.vault)
	if err != nil {
		return nil, nil, err
	}
	return &nearFinder{v}, func() { v.Close() }, nil
}

type nearFinder struct{ v *blockstore.Vault }

func (n *nearFinder) search(ctx context.Context, q api.SearchQuery, hit func(api.SearchHit, string) error) (api.Searched, error) {
	return service.SearchNames(ctx, n.v, q, func(h *catalogue.Hit) error { return hit(service.DescribeHit(h), h.Path) })
}

func (n *nearFinder) catalogues(ctx context.Context, machine string) ([]api.Catalogue, error) {
	return service.DescribeCatalogues(ctx, n.v, machine)
}

type farFinder struct {
	f     api.Finder
	vault string
}

func (f *farFinder) search(ctx context.Context, q api.SearchQuery, hit func(api.SearchHit, string) error) (api.Searched, error) {
	q.Vault, q.Limit = f.vault, 10_000
	for {
		page, err := f.f.Search(ctx, q)
		if err != nil {
			return page.Searched, err
		}
		for _, h := range page.Hits {
			path := h.Path
			if h.PathEscaped != "" {
				path = api.UnescapePath(h.PathEscaped)
			}
			if err := hit(h, path); err != nil {
				return page.Searched, err
			}
		}
		if q.After = page.Next; q.After == "" {
			return page.Searched, nil
		}
	}
}

func (f *farFinder) catalogues(ctx context.Context, machine string) ([]api.Catalogue, error) {
	return f.f.Catalogues(ctx, f.vault, machine)
}

// buildMissing makes catalogues that are missing, where that takes few of them, or all are asked for.
// That it cannot be done is said, and the search goes on.
func buildMissing(ctx context.Context, k *console, o findAllOptions, f finder) error {
	all, err := f.catalogues(ctx, o.query.Machine)
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range all {
		within := (o.query.Since == nil || !c.Time.Before(o.query.Since.Time)) && (o.query.Until == nil || !c.Time.After(o.query.Until.Time))
		if (!c.There || c.Error != "") && within {
			missing = append(missing, c.Point)
		}
	}
	if len(missing) == 0 || o.build == "few" && len(missing) > buildFew {
		return nil
	}
	w, err := k.operations(ctx, o.use)
	if err != nil {
		return err
	}
	defer w.close()
	q := api.JobRequest{Kind: api.JobCatalogue, Machine: o.query.Machine, Catalogue: &api.CatalogueOptions{Points: missing}}
	_, err = runJob[*api.CatalogueRun](ctx, k, w, showing{"list names", false, o.quiet}, q)
	if err != nil && ctx.Err() == nil {
		k.say("note: %s could not be made, the search goes on without: %v", count(len(missing), "catalogue"), err)
		return nil
	}
	return err
}

// findAllShower prints what a search finds.
type findAllShower struct {
	k    *console
	o    findAllOptions
	enc  *json.Encoder
	some bool
}

func (s *findAllShower) hit(h api.SearchHit, path string) error {
	switch {
	case s.o.json:
		return s.enc.Encode(h)
	case s.o.zero:
		s.k.path(catalogue.Shown(h.Volume, path), "\x00")
		return s.k.failed()
	case !s.some:
		s.k.printf("%s\n", s.line("FROM", "TO", "SIZE", "CHANGED", ""))
		s.some = true
	}
	for i, v := range h.Versions {
		changed := "-"
		if v.Modified != nil {
			changed = s.k.moment(*v.Modified, s.o.local)
		}
		gone := ""
		if h.Deleted && i == len(h.Versions)-1 {
			gone = "deleted"
		}
		s.k.printf("%s", s.line(s.k.moment(v.First.Time.Time, s.o.local), s.k.moment(v.Last.Time.Time, s.o.local), formatSize(v.Size), changed, gone))
		s.k.path(catalogue.Shown(h.Volume, path), "\n")
	}
	return s.k.failed()
}

// line is all of a line but the path.
func (s *findAllShower) line(from, to, size, changed, gone string) string {
	at := 20
	if s.o.local {
		at = 25
	}
	if from == "FROM" {
		return fmt.Sprintf("%-*s  %-*s  %10s  %-*s  %-7s  PATH", at, from, at, to, size, at, changed, "")
	}
	return fmt.Sprintf("%-*s  %-*s  %10s  %-*s  %-7s  ", at, from, at, to, size, at, changed, gone)
}

// end says what the search did not see: then it ends with a warning.
func (s *findAllShower) end(d api.Searched) error {
	if s.o.json {
		if err := s.enc.Encode(map[string]api.Searched{"searched": d}); err != nil {
			return err
		}
	}
	machine := s.o.query.Machine
	if n := len(d.Missing); n > 0 {
		s.k.warn(fmt.Sprintf("%d of %s of %s have no catalogue, and were not searched; `holdfast catalogue build %s` makes them, or find with --build all",
			n, count(n+d.Points, "point"), machine, machine))
	}
	for _, p := range d.Problems {
		s.k.warn(p + "; `holdfast catalogue build " + machine + "` makes it anew")
	}
	d.Unread = slices.DeleteFunc(d.Unread, func(u api.GuestProblem) bool {
		if u.Remote && !s.o.quiet {
			s.k.say("note: %s", toldOf(u.Path, u.Error))
		}
		return u.Remote
	})
	for i, u := range d.Unread {
		if i == 10 {
			s.k.warn(fmt.Sprintf("%d more paths could not be read at the newest point", len(d.Unread)-i))
			break
		}
		s.k.warn(fmt.Sprintf("%s could not be read at the newest point (%s): what is there is shown as it was before, or not at all", u.Path, u.Error))
	}
	return s.k.failed()
}
