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
		files = append(files, describeFile(at, at.Path, nil))
	} else if files, err = o.folder(at); err != nil {
		return err
	}
	var damaged error
	for _, f := range files {
		if f.Error != "" {
			k.warn(f.Path + ": " + f.Error)
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
		f := describeFile(p, path, err)
		f.Name = c.Name
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b api.GuestFile) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// describeFile says what is at p; err is why that cannot be told.
func describeFile(p guestfs.Place, path string, err error) api.GuestFile {
	f := api.GuestFile{Path: strings.ToValidUTF8(path, "�")}
	f.Name = f.Path[strings.LastIndexByte(f.Path, '/')+1:]
	if f.Path == "/" {
		f.Name = "/"
	}
	if err == nil {
		err = fillFile(&f, p)
	}
	if err != nil {
		f.Error = err.Error()
		f.Damaged = service.Explain(err).Exit == exitDamaged
	}
	return f
}

func fillFile(f *api.GuestFile, p guestfs.Place) error {
	a, err := p.Stat()
	if err != nil {
		return err
	}
	f.Type, f.Mode, f.Links, f.UID, f.GID = typeWord(a.Mode), fmt.Sprintf("%04o", a.Mode&0o7777), a.Nlink, a.UID, a.GID
	f.Size, f.Volume, f.Inode = a.Size, p.Volume.Name, a.Ino
	if !a.Mtime.IsZero() {
		at := a.Mtime.UTC()
		f.Modified = &at
	}
	switch f.Type {
	case "link":
		f.Target, err = p.Readlink()
		f.Target = strings.ToValidUTF8(f.Target, "�")
	case "block", "char":
		f.Major, f.Minor = a.Major, a.Minor
	}
	f.Permissions = permissions(a.Mode)
	return err
}

// typeWord is the type of an inode.
func typeWord(mode uint32) string {
	switch mode & 0o170000 {
	case 0o100000:
		return "file"
	case 0o040000:
		return "folder"
	case 0o120000:
		return "link"
	case 0o060000:
		return "block"
	case 0o020000:
		return "char"
	case 0o010000:
		return "pipe"
	case 0o140000:
		return "socket"
	}
	return "unknown"
}

// permissions are as ls(1) writes them.
func permissions(mode uint32) string {
	b := []byte("?rwxrwxrwx")
	letters := map[string]byte{"file": '-', "folder": 'd', "link": 'l', "block": 'b', "char": 'c', "pipe": 'p', "socket": 's'}
	if c, ok := letters[typeWord(mode)]; ok {
		b[0] = c
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			b[i+1] = '-'
		}
	}
	for _, s := range []struct {
		bit   uint32
		at    int
		lower byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		switch {
		case mode&s.bit != 0 && b[s.at] == 'x':
			b[s.at] = s.lower
		case mode&s.bit != 0:
			b[s.at] = s.lower - 'a' + 'A'
		}
	}
	return string(b)
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
