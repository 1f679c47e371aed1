package main

import (
	"bufio"
	"context"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/fusefs"
)

func diffCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "say where files or disks of two points differ",
		ArgsUsage: "MACHINE@A[:PATH] MACHINE@B[:PATH]",
		Description: `With paths, lists which files were added, removed, changed, moved or replaced by something else
between two points, and where only metadata differs; times of folders are not compared. Where the second
word has no path, it is that of the first. The second may name another folder, another volume or
another machine of the vault. Files that were moved are told by their inodes, or by what they hold. What
the disks' maps prove to be the same is not read. A path that only one of the points has is a difference,
and a note says so; two different paths of which one is not there are taken for a slip: exit code 6.

Without paths, lists the ranges of each disk that differ, in whole blocks. That compares maps and
reads no data. Disks are matched by name.`,
		UsageText: "holdfast diff web1@2026-11-21:/etc web1@latest:/etc\nholdfast diff web1@2026-11-21:/etc web1@latest --content\n" +
			"holdfast diff web1@2026-11-21 web1@latest --disk vda --vault /srv/vault",
		Flags: append(guestKeyFlags(),
			&cli.BoolFlag{Name: "content", Usage: "show how texts differ, as diff -u does"},
			&cli.StringSliceFlag{Name: "disk", Usage: "without paths: compare only disk `NAME`; may be given several times"},
			jsonFlag(),
		),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@A", "MACHINE@B")
			if err != nil {
				return err
			}
			if a, b, named, err := fileRefs(args); err != nil {
				return err
			} else if named {
				if c.IsSet("disk") {
					return usagef("--disk compares disks, and a path names files")
				}
				f := diffFilesOptions{a, b, c.Bool("content"), c.Bool("json"), c.Bool("quiet")}
				return withTimeline(c, k, b.point.Machine, func(t api.Timeline, vault string) error { return diffFiles(c.Context, k, t, vault, f) })
			}
			if c.Bool("content") {
				return usagef("--content needs paths").hinted("write MACHINE@A:PATH, for example web1@latest:/etc")
			}
			o := diffOptions{disks: c.StringSlice("disk"), json: c.Bool("json")}
			if o.a, err = parsePointRef(args[0]); err != nil {
				return err
			}
			if o.b, err = parsePointRef(args[1]); err != nil {
				return err
			}
			if o.vault, err = k.vaultPath(c); err != nil {
				return err
			}
			for _, name := range o.disks {
				if err := blockstore.CheckDiskName(name); err != nil {
					return usagef("--disk: %v", err)
				}
			}
			return diffPoints(c, k, o)
		},
	}
}

type diffOptions struct {
	vault string
	a, b  pointRef
	disks []string // names; none: all
	json  bool
}

func diffPoints(c *cli.Context, k *console, o diffOptions) error {
	ctx := c.Context
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		return k.through(ctx, w, o.vault, purposeOf(c), func(ctx context.Context, v *far.Vault) error {
			return compareIn(ctx, k, v, o, farDiffer(w))
		})
	}
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	return compareIn(ctx, k, ownVault{fusefs.FromVault(v), v}, o, ownDiffer(v))
}

// differ calls fn for the ranges in which a disk that both points have differs.
type differ func(ctx context.Context, a, b *blockstore.Point, disk string, fn func(api.Range) error) error

func ownDiffer(v *blockstore.Vault) differ {
	return func(ctx context.Context, a, b *blockstore.Point, disk string, fn func(api.Range) error) error {
		diskA, err := v.OpenDisk(a, disk)
		if err != nil {
			return err
		}
		diskB, err := v.OpenDisk(b, disk)
		if err != nil {
			return err
		}
		return blockstore.Diff(ctx, diskA, diskB, func(off, length int64) error { return fn(api.Range{Offset: off, Length: length}) })
	}
}

// farDiffer has a daemon compare.
func farDiffer(w *worker) differ {
	return func(ctx context.Context, a, b *blockstore.Point, disk string, fn func(api.Range) error) error {
		from, ok := w.Operations.(interface {
			CompareDisk(ctx context.Context, vault string, a, b api.PointRef, disk string, fn func(api.Range) error) error
		})
		if !ok {
			return usagef("this daemon compares no disks")
		}
		ref := func(p *blockstore.Point) api.PointRef {
			return api.PointRef{Machine: string(p.Machine), Point: string(p.ID)}
		}
		return from.CompareDisk(ctx, w.vault, ref(a), ref(b), disk, fn)
	}
}

func compareIn(ctx context.Context, k *console, v pointVault, o diffOptions, compare differ) error {
	a, err := v.Find(ctx, o.a)
	if err != nil {
		return err
	}
	b, err := v.Find(ctx, o.b)
	if err != nil {
		return err
	}
	names := o.disks
	if len(names) == 0 {
		names = diskNames(a, b)
	}
	var w diffWriter = &diffText{k: k, a: a.ID, b: b.ID}
	if o.json {
		w = &diffJSON{w: bufio.NewWriter(k.out), a: a.ID, b: b.ID}
	}
	w.begin()
	for _, name := range names {
		if err := diffDisk(ctx, compare, a, b, name, w); err != nil {
			return err
		}
	}
	return w.end()
}

// diskNames are the names of the disks of both points, a's first.
func diskNames(points ...*blockstore.Point) []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range points {
		for _, d := range p.Disks {
			if !seen[d.Name] {
				seen[d.Name] = true
				names = append(names, d.Name)
			}
		}
	}
	return names
}

// diffDisk tells w where one disk differs, range by range: there may be millions.
func diffDisk(ctx context.Context, compare differ, a, b *blockstore.Point, name string, w diffWriter) error {
	d := api.DiskDiff{Name: name, SizeA: -1, SizeB: -1}
	infoA, missingA := a.Disk(name)
	infoB, missingB := b.Disk(name)
	if missingA != nil && missingB != nil {
		return missingA
	}
	if missingA == nil {
		d.SizeA = infoA.Size
	}
	if missingB == nil {
		d.SizeB = infoB.Size
	}
	w.disk(d)
	if missingA == nil && missingB == nil {
		err := compare(ctx, a, b, name, func(r api.Range) error {
			d.Bytes += r.Length
			return w.differ(r)
		})
		if err != nil {
			return err
		}
	}
	w.endDisk(d)
	return nil
}
