package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/extract"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

func cpCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "cp",
		Usage:     "copy files and folders out of a guest",
		ArgsUsage: "MACHINE@POINT:PATH... TARGET",
		Description: `Copies files, and folders with all that is in them, to TARGET: into it where it is a folder or
ends with /, else under that name. The copies are plain: they belong to you, with the permissions
that your umask leaves. --as-is keeps owner, mode, times, extended attributes, ACLs, hard links,
devices and links as the guest has them; owners, setuid bits and devices take root. Alternate
streams of NTFS are kept with --as-is, as extended attributes user.NAME; a plain copy says how
many it left out.

Nothing is written outside TARGET whatever the guest's files are called or link to. Files that
exist are kept without --force. What could not be copied is listed at the end, and the rest is
there: exit code 3, or 4 where it is damaged.`,
		UsageText: "holdfast cp web1@latest:/home/ann ./restored/\nholdfast cp --as-is web1@2026-11-22:/etc/nginx web1@2026-11-22:/etc/ssl /srv/rescue/",
		Flags: append(guestKeyFlags(),
			&cli.BoolFlag{Name: "as-is", Usage: "keep owner, mode, times, extended attributes, hard links and devices"},
			&cli.BoolFlag{Name: "force", Usage: "replace files that exist"},
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) < 2 {
				return usagef("what to copy and where to are not both said").hinted("for example holdfast cp web1@latest:/etc ./restored/")
			}
			refs, err := guestRefs(args[:len(args)-1])
			if err != nil {
				return err
			}
			o := cpOptions{refs: refs, target: args[len(args)-1], json: c.Bool("json"), quiet: c.Bool("quiet"),
				copy: extract.Options{AsIs: c.Bool("as-is"), Replace: c.Bool("force")}}
			return withGuests(c, k, func(g *guests) error { return copyOut(c.Context, k, g, o) })
		},
	}
}

type cpOptions struct {
	refs        []guestRef
	target      string
	json, quiet bool
	copy        extract.Options
}

func copyOut(ctx context.Context, k *console, g *guests, o cpOptions) error {
	places, err := g.places(o.refs, !o.copy.AsIs)
	if err != nil {
		return err
	}
	var res extract.Result
	began := time.Now()
	err = k.measure("copy", true, o.quiet, func(set func(done, total int64)) error {
		total, err := k.contentOf(ctx, places, o.quiet, func(a tree.Attr) int64 { return min(a.Size, a.Allocated) })
		if err != nil {
			return err
		}
		o.copy.Progress = func(bytes, _ int64) { set(bytes, total) }
		res, err = extract.Copy(ctx, places, o.target, o.copy)
		return err
	})
	if err != nil {
		return leaving(ctx, err, "what was copied stays; no file is there in part")
	}
	damaged := reportExtract(k, res)
	if o.json {
		if err := k.json(describeExtract(res, time.Since(began))); err != nil {
			return err
		}
		return damaged
	}
	k.printf("copied %s, %s and %s (%s) to %s\n", count(int(res.Files), "file"), count(int(res.Folders), "folder"),
		count(int(res.Links), "link"), formatSize(res.Bytes), o.target)
	return damaged
}

// places resolves all of refs before anything is written.
func (g *guests) places(refs []guestRef, follow bool) ([]guestfs.Place, error) {
	var places []guestfs.Place
	for _, r := range refs {
		p, err := g.find(r, follow)
		if err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, nil
}

// contentOf adds up what there is to take, for a bar to go by; 0 where none is shown. What cannot
// be looked at is met again, and told, when it is taken.
func (k *console) contentOf(ctx context.Context, places []guestfs.Place, quiet bool, size func(tree.Attr) int64) (total int64, err error) {
	if quiet || !k.terminal {
		return 0, nil
	}
	for _, p := range places {
		err := p.Walk(ctx, func(_ guestfs.Place, a tree.Attr, err error) error {
			if err == nil && a.Mode&0o170000 == 0o100000 {
				total += size(a)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// reportExtract says what was not taken, and returns an error where that was damaged.
func reportExtract(k *console, r extract.Result) error {
	for _, n := range r.Notes {
		k.say("note: %s", n)
	}
	for _, p := range r.Problems {
		k.warn(toldOf(p.Path, p.Err.Error()))
	}
	if more := r.Failed - int64(len(r.Problems)); more > 0 {
		k.warn(count(int(more), "more path") + " could not be taken")
	}
	if r.Damaged {
		return &hintError{Err: &damagedError{"not all could be taken: some of it is damaged"},
			Hint: "another point may hold it whole; `holdfast tar` has zeros where content cannot be read, and all the rest of such a file"}
	}
	return nil
}

func describeExtract(r extract.Result, took time.Duration) api.GuestCopy {
	c := api.GuestCopy{Files: r.Files, Folders: r.Folders, Links: r.Links, Bytes: r.Bytes, Failed: r.Failed,
		Problems: []api.GuestProblem{}, Notes: append([]string{}, r.Notes...), Seconds: took.Seconds()}
	for _, p := range r.Problems {
		c.Problems = append(c.Problems, api.GuestProblem{Path: printable(p.Path), Error: p.Err.Error()})
	}
	return c
}
