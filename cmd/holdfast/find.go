package main

import (
	"context"
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

func findFilesCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "find",
		Usage:     "find files of a guest by name, time, size or type",
		ArgsUsage: "MACHINE@POINT[:PATH]",
		Description: `Prints the paths below PATH, or of the whole guest, that all conditions fit, as they are found. Patterns
know *, ? and [...]; those of --path match the whole path. Times are dates, RFC 3339, or ages such
as 36h, 7d and 2w. A size has + before it for more than, - for less than that.
With MACHINE@all it looks at all points of the machine at once, by the catalogues of names that the
vault keeps (see catalogue), and prints each version of a file with the first and the last point that
has it so; --deleted leaves out what is there still. Points that have no catalogue are never passed over
in silence: a warning names them, and the exit code is 3.`,
		UsageText: "holdfast find web1@latest --name '*.conf' --newer 2026-11-01\nholdfast find web1@latest:/var --type f --size +1GiB\nholdfast find web1@all:/home --name 'report*.xlsx' --deleted",
		Flags: append(append(guestKeyFlags(), append(findAllFlags(), waitFlags()...)...),
			&cli.StringFlag{Name: "name", Usage: "only what is called like `PATTERN`"},
			&cli.StringFlag{Name: "path", Usage: "only what has a path like `PATTERN`"},
			&cli.StringFlag{Name: "type", Usage: "only `TYPE`: f files, d folders, l links, b and c devices, p pipes, s sockets"},
			&cli.StringFlag{Name: "newer", Usage: "only what was changed after `TIME`"},
			&cli.StringFlag{Name: "older", Usage: "only what was last changed before `TIME`"},
			&cli.StringFlag{Name: "size", Usage: "only what is `[+-]SIZE` large"},
			&cli.BoolFlag{Name: "print0", Aliases: []string{"0"}, Usage: "end each path with a zero byte, for xargs -0: names may hold ends of lines"},
			&cli.BoolFlag{Name: "json", Usage: "print a JSON object for each, one on a line"},
		),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT")
			if err != nil {
				return err
			}
			ref, err := parseGuestRef(args[0])
			if err != nil {
				return err
			}
			f, err := fileFilterOf(c, time.Now())
			if err != nil {
				return err
			}
			if ref.point.Point == allPoints {
				o, err := findAllOptionsOf(c, k, ref, f, time.Now())
				if err != nil {
					return err
				}
				return findInAll(c.Context, k, o)
			}
			if err := onlyAll(c, ref); err != nil {
				return err
			}
			return withGuests(c, k, func(g *guests) error { return findFiles(c.Context, k, g, ref, f, c.Bool("json")) })
		},
	}
}

func findFiles(ctx context.Context, k *console, g *guests, ref guestRef, f fileFilter, asJSON bool) error {
	top, err := g.find(ref, true)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(k.out)
	enc.SetEscapeHTML(false)
	end := "\n"
	if f.zero {
		end = "\x00"
	}
	damaged := false
	err = top.Walk(ctx, func(p guestfs.Place, a tree.Attr, err error) error {
		if guestfs.IsRemote(err) {
			k.say("note: %v", err) // nothing of it is in any point
			return nil
		}
		if err != nil {
			k.warn(toldOf(p.Path, err.Error()))
			damaged = damaged || service.Explain(err).Exit == exitDamaged
			return nil
		}
		if !f.fits(p, a) {
			return nil
		}
		if asJSON {
			return enc.Encode(service.DescribeFile(p, p.Path, nil))
		}
		k.path(p.Path, end)
		return k.failed()
	})
	if err == nil && damaged {
		err = &damagedError{"not all could be searched: some of it is damaged"}
	}
	return err
}

// toldOf puts a path before an error that does not begin with it.
func toldOf(path, err string) string {
	if strings.HasPrefix(err, path+" ") {
		return err
	}
	return path + ": " + err
}

// fileFilter is what find looks for; nil and zero fields fit everything.
type fileFilter struct {
	name         string
	path         *regexp.Regexp
	kind         uint32
	newer, older time.Time
	least, most  int64 // size; most is -1 without a limit
	zero         bool  // paths end with a zero byte, as no path holds one
}

func fileFilterOf(c *cli.Context, now time.Time) (f fileFilter, err error) {
	f.most, f.zero = -1, c.Bool("print0")
	f.name = c.String("name")
	if _, err := path.Match(f.name, ""); err != nil {
		return f, usagef("--name %q is no pattern: %v", f.name, err)
	}
	if c.IsSet("path") {
		if f.path, err = service.PathPattern(c.String("path")); err != nil {
			return f, usagef("--path %q is no pattern", c.String("path"))
		}
	}
	if c.IsSet("type") {
		kinds := map[string]uint32{"f": 0o100000, "d": 0o040000, "l": 0o120000, "b": 0o060000, "c": 0o020000, "p": 0o010000, "s": 0o140000}
		if f.kind = kinds[c.String("type")]; f.kind == 0 {
			return f, usagef("--type %q is not known: f, d, l, b, c, p or s", c.String("type"))
		}
	}
	if f.newer, err = timeFlag(c, "newer", now); err != nil {
		return f, err
	}
	if f.older, err = timeFlag(c, "older", now); err != nil {
		return f, err
	}
	if c.IsSet("size") {
		return f, f.setSize(c.String("size"))
	}
	return f, nil
}

func (f *fileFilter) setSize(s string) error {
	n, err := parseSize(strings.TrimLeft(s, "+-"))
	switch {
	case err != nil:
		return usagef("--size: %v", err)
	case strings.HasPrefix(s, "+"):
		f.least = n + 1
	case strings.HasPrefix(s, "-"):
		f.most = n - 1
	default:
		f.least, f.most = n, n
	}
	return nil
}

func (f *fileFilter) fits(p guestfs.Place, a tree.Attr) bool {
	if f.name != "" {
		if ok, _ := path.Match(f.name, p.Name()); !ok {
			return false
		}
	}
	return (f.path == nil || f.path.MatchString(p.Path)) &&
		(f.kind == 0 || a.Mode&0o170000 == f.kind) &&
		(f.newer.IsZero() || a.Mtime.After(f.newer)) && (f.older.IsZero() || a.Mtime.Before(f.older)) &&
		a.Size >= f.least && (f.most < 0 || a.Size <= f.most)
}

// timeFlag reads a date, a time, or an age.
func timeFlag(c *cli.Context, name string, now time.Time) (time.Time, error) {
	s := c.String(name)
	if !c.IsSet(name) {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", time.RFC3339, "2006-01-02T15-04-05Z"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at, nil
		}
	}
	units := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if s != "" && units[s[len(s)-1]] > 0 {
		if n, err := strconv.ParseInt(s[:len(s)-1], 10, 32); err == nil && n >= 0 && n < 1<<20 {
			return now.Add(-time.Duration(n) * units[s[len(s)-1]]), nil
		}
	}
	return time.Time{}, usagef("--%s %.40q is no time: write 2026-11-01, 2026-11-01T12:00:00Z, or an age such as 7d", name, s)
}
