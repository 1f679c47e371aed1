package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

func lsCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "ls",
		Usage:     "list files of a guest",
		ArgsUsage: "MACHINE@POINT:PATH",
		Description: `Lists a folder, or one file, of a guest as it was at a point. PATH is one of the guest: its root
is put together from its fstab, so that /boot and /var come from the volumes that the guest has
there. MACHINE@POINT:VOLUME:PATH looks into one volume. Paths of Windows may have
backslashes and any case, and C: before them. Root is not needed.`,
		UsageText: "holdfast ls web1@latest:/etc\nholdfast ls -l web1@2026-11-22:vda2:/home\nholdfast ls 'win1@latest:C:\\Users'",
		Flags: append(guestKeyFlags(),
			&cli.BoolFlag{Name: "long", Aliases: []string{"l"}, Usage: "show permissions, owners, sizes and times"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "show names that begin with a dot, too"},
			jsonFlag(), localFlag(),
		),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT:PATH")
			if err != nil {
				return err
			}
			o := lsOptions{long: c.Bool("long"), all: c.Bool("all"), json: c.Bool("json"), local: c.Bool("local")}
			if o.ref, err = parseGuestRef(args[0]); err != nil {
				return err
			}
			return withGuests(c, k, func(g *guests) error { return listFiles(k, g, o) })
		},
	}
}

type lsOptions struct {
	ref                    guestRef
	long, all, json, local bool
}

// listFiles lists by name. An entry that cannot be looked at is listed, with why.
func listFiles(k *console, g *guests, o lsOptions) error {
	at, err := g.find(o.ref, !o.long || strings.HasSuffix(o.ref.path, "/"))
	if err != nil {
		return err
	}
	a, err := at.Stat()
	if err != nil {
		return err
	}
	files := []api.GuestFile{}
	if a.Mode&0o170000 != 0o040000 {
		files = append(files, service.DescribeFile(at, at.Path, nil))
	} else if files, err = o.folder(at); err != nil {
		return err
	}
	var damaged error
	for _, f := range files {
		if f.Error != "" {
			k.warn(toldOf(f.Path, f.Error))
		}
		if f.Damaged {
			damaged = &damagedError{"not all could be listed"}
		}
	}
	switch {
	case o.json:
		err = k.json(files)
	case o.long:
		err = k.table(longRows(k, files, o.local), 1, 2, 3, 4)
	default:
		for _, f := range files {
			k.path(f.Name, "\n")
		}
	}
	return errors.Join(err, damaged)
}

func (o *lsOptions) folder(at guestfs.Place) ([]api.GuestFile, error) {
	files := []api.GuestFile{}
	for c, err := range at.Children() {
		if err != nil && c.Name == "" {
			return files, err
		}
		if !o.all && strings.HasPrefix(c.Name, ".") {
			continue
		}
		path := strings.TrimSuffix(at.Path, "/") + "/" + c.Name
		if !o.long && !o.json && err == nil {
			files = append(files, api.GuestFile{Name: c.Name, Path: path})
			continue
		}
		var p guestfs.Place
		if err == nil {
			p, err = c.Place()
		}
		f := service.DescribeFile(p, path, err)
		f.Name = c.Name
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b api.GuestFile) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

func longRows(k *console, files []api.GuestFile, local bool) [][]string {
	rows := [][]string{{"MODE", "LINKS", "UID", "GID", "SIZE", "MODIFIED", "NAME"}}
	for _, f := range files {
		name, size, at := f.Name, fmt.Sprint(f.Size), ""
		if f.Target != "" {
			name += " -> " + f.Target
		}
		if f.Type == "block" || f.Type == "char" {
			size = fmt.Sprintf("%d, %d", f.Major, f.Minor)
		}
		if f.Modified != nil {
			at = k.moment(f.Modified.Truncate(time.Second), local)
		}
		if f.Type == "" {
			rows = append(rows, []string{"?", "?", "?", "?", "?", "?", name})
			continue
		}
		rows = append(rows, []string{f.Permissions, fmt.Sprint(f.Links), fmt.Sprint(f.UID), fmt.Sprint(f.GID), size, at, name})
	}
	return rows
}
