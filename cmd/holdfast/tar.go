package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/extract"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

func tarCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "tar",
		Usage:     "write files and folders of a guest as an archive",
		ArgsUsage: "MACHINE@POINT:PATH...",
		Description: `Writes a tar archive of files and folders of a guest, as they are there: with owners, modes, times,
links, devices and extended attributes. It goes to standard output as it is made, or to -o FILE.
--format zip writes a zip archive of files, folders and links instead. Holes are written as zeros, so that
every reader knows what they are; with --sparse a tar archive leaves them out, which GNU tar and bsdtar read.
Where content is damaged, zeros stand for it, and that is listed at the end (exit code 4).`,
		UsageText: "holdfast tar web1@latest:/etc > etc.tar\nholdfast tar web1@latest:/srv/www | ssh web2 'tar -xp -C /srv'\nholdfast tar --sparse web1@latest:/var/lib/images | ssh web2 'tar -xpS -C /var/lib'\nholdfast tar --format zip -o docs.zip 'win1@latest:C:\\Users\\Ann\\Documents'",
		Flags: append(guestKeyFlags(),
			&cli.StringFlag{Name: "format", Usage: "write a `FORMAT`: tar or zip", Value: "tar"},
			&cli.BoolFlag{Name: "sparse", Aliases: []string{"S"}, Usage: "leave the holes of files out of a tar archive"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, which must not exist, instead of standard output"},
		),
		Action: func(c *cli.Context) error {
			refs, err := guestRefs(c.Args().Slice())
			if err != nil {
				return err
			}
			o := tarOptions{refs: refs, output: c.String("output"), write: extract.Tar, sparse: c.Bool("sparse"), quiet: c.Bool("quiet")}
			switch c.String("format") {
			case "tar":
			case "zip":
				if o.sparse {
					return usagef("--sparse is for tar: a zip archive has no holes")
				}
				o.write = extract.Zip
			default:
				return usagef("--format %q is not known: use tar or zip", c.String("format"))
			}
			if f, ok := k.out.(*os.File); ok && o.output == "" && term.IsTerminal(int(f.Fd())) {
				return usagef("an archive is nothing for a terminal").hinted("add > FILE, or -o FILE")
			}
			return withGuests(c, k, func(g *guests) error { return writeArchive(c.Context, k, g, o) })
		},
	}
}

type tarOptions struct {
	refs   []guestRef
	output string // "": standard output
	sparse bool
	quiet  bool
	write  func(context.Context, io.Writer, []guestfs.Place, extract.Options) (extract.Result, error)
}

func writeArchive(ctx context.Context, k *console, g *guests, o tarOptions) error {
	places, err := g.places(o.refs, true)
	if err != nil {
		return err
	}
	out, done := k.out, func(err error) error { return err }
	if o.output != "" {
		f, err := os.OpenFile(o.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		out = f
		done = func(err error) error {
			if err = errors.Join(err, f.Close()); err != nil {
				os.Remove(o.output) // ours, and not whole
			}
			return err
		}
	}
	var res extract.Result
	err = k.measure("archive", true, o.quiet, func(set func(done, total int64)) error {
		total, err := k.contentOf(ctx, places, o.quiet, func(a tree.Attr) int64 {
			if o.sparse {
				return min(a.Size, a.Allocated)
			}
			return a.Size
		})
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(out, 1<<20)
		res, err = o.write(ctx, w, places, extract.Options{Sparse: o.sparse, Progress: func(bytes, _ int64) { set(bytes, total) }})
		if err != nil {
			return err // a flush would only say it again
		}
		return w.Flush()
	})
	if err = done(err); err != nil {
		return leaving(ctx, err, "the archive is not whole")
	}
	return reportExtract(k, res)
}
