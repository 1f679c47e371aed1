package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/fusefs"
)

func volumesCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "volumes",
		Usage:     "list the file systems on the disks of a point",
		ArgsUsage: "MACHINE@POINT",
		Description: `Lists partitions, arrays (md) and logical volumes of a point's disks, with what each holds and where the
guest had it mounted. What cannot be read (encrypted, unknown) is listed, too, with what to do
instead; --guest-passphrase-file opens what LUKS or BitLocker encrypted. Nothing is mounted,
and no kernel driver sees the guest's data; root is not needed.`,
		UsageText: "holdfast volumes web1@latest\nholdfast volumes web1@latest --guest-passphrase-file web1.pass",
		Flags:     append(guestKeyFlags(), jsonFlag()),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT")
			if err != nil {
				return err
			}
			ref, err := parsePointRef(args[0])
			if err != nil {
				return err
			}
			return withGuests(c, k, func(g *guests) error { return listVolumes(k, g, ref, c.Bool("json")) })
		},
	}
}

func listVolumes(k *console, g *guests, ref pointRef, json bool) error {
	guest, err := g.guest(ref)
	if err != nil {
		return err
	}
	all := fusefs.DescribeVolumes(guest)
	if err := context.Cause(g.ctx); err != nil {
		return err
	}
	if json {
		return k.json(all)
	}
	rows := [][]string{{"VOLUME", "TYPE", "SIZE", "USED", "LABEL", "JOURNAL", "MOUNTED AT"}}
	for _, v := range all.Volumes {
		used := ""
		if v.Used != nil {
			used = formatSize(*v.Used)
		}
		rows = append(rows, []string{v.Name, v.Type, formatSize(v.Size), used, v.Label, v.Journal, strings.Join(v.MountedAt, " ")})
	}
	if err := k.table(rows, 2, 3); err != nil {
		return err
	}
	for _, v := range all.Volumes {
		if v.Error != "" {
			k.say("note: %s", strings.TrimSuffix(v.Error+"; "+v.Advice, "; "))
		}
		for _, n := range v.Notes {
			k.say("note: volume %s: %s", v.Name, n)
		}
	}
	if all.Root != nil {
		for _, m := range all.Root.Mounts {
			if m.Error != "" {
				k.say("note: %s", m.Error)
			}
		}
	}
	for _, n := range all.Notes {
		k.say("note: %s", n)
	}
	return nil
}
