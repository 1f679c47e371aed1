package main

import (
	"context"
	"errors"
	"io"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

func catCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "cat",
		Usage:       "print a file of a guest",
		ArgsUsage:   "MACHINE@POINT:PATH...",
		Description: "Writes the content of files of a guest to standard output, one after the other. Links are followed\nwithin the guest. Paths are those of `holdfast ls`.",
		UsageText:   "holdfast cat web1@latest:/etc/passwd\nholdfast cat web1@2026-11-20:/etc/nginx/nginx.conf | diff - /etc/nginx/nginx.conf",
		Flags:       guestKeyFlags(),
		Action: func(c *cli.Context) error {
			refs, err := guestRefs(c.Args().Slice())
			if err != nil {
				return err
			}
			return withGuests(c, k, func(g *guests) error {
				for _, r := range refs {
					at, err := g.find(r, true)
					if err != nil {
						return err
					}
					if err := printFile(c.Context, k.out, at); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// guestRefs reads one or more MACHINE@POINT:PATH.
func guestRefs(args []string) ([]guestRef, error) {
	if len(args) == 0 {
		return nil, usagef("MACHINE@POINT:PATH is missing")
	}
	var refs []guestRef
	for _, s := range args {
		r, err := parseGuestRef(s)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	return refs, nil
}

func printFile(ctx context.Context, w io.Writer, at guestfs.Place) error {
	f, size, err := at.Open()
	if errors.Is(err, syscall.EISDIR) {
		return &hintError{Err: err, Hint: "`holdfast ls` lists what is in it, `holdfast cp` and `holdfast tar` take it out"}
	}
	if err != nil {
		return err
	}
	buf := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(size-off, int64(len(buf)))]
		n, err := f.ReadAt(part, off)
		if n < len(part) && (err == nil || errors.Is(err, io.EOF)) {
			err = io.ErrUnexpectedEOF
		}
		if _, werr := w.Write(part[:n]); werr != nil {
			return werr
		}
		if n < len(part) {
			return err
		}
		off += int64(n)
	}
	return nil
}
