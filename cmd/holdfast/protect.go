package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func protectCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "protect",
		Usage:     "say once how a machine is backed up, on or off",
		ArgsUsage: "[NAME]",
		Description: `Remembers in the vault which VM a machine is, how it is reached and what is asked of its backups;
` + "`holdfast backup NAME`" + ` then needs no more. A domain of libvirt and a QEMU process with a QMP
socket are backed up while they run; machines that are off are read from their images. Without
NAME the VM's own name is taken, as far as a machine can be called so. It prints what each backup
will cost, disk by disk. Given again, it replaces what was said before; points stay.
Consistency is filesystem, falling back to crash, where a guest agent answers now, else crash.`,
		UsageText: `holdfast protect web1 --libvirt web1 --vault /srv/vault
holdfast protect db1 --qmp /run/db1.qmp --qga /run/db1.qga --exclude vdc --consistency application --otherwise fail
holdfast protect old1 --disk vda=/vms/old1.qcow2,format=qcow2`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "libvirt", Usage: "`[URI/]DOMAIN`: it is this domain of libvirt, by name or UUID"},
			&cli.StringFlag{Name: "qmp", Usage: "`SOCKET`: it is the QEMU process whose monitor is behind this Unix socket"},
			&cli.StringFlag{Name: "qga", Usage: "`SOCKET`: its guest agent is behind this one (default: QEMU is asked)"},
			&cli.StringSliceFlag{Name: "disk", Usage: "`NAME=IMAGE[,format=qcow2][,backing=DIR]`: it is off, and this is one of its disks; may be given several times"},
			&cli.StringSliceFlag{Name: "exclude", Usage: "leave `DISK` out; may be given several times"},
			&cli.BoolFlag{Name: "shareable", Usage: "back shareable disks up, too, although others may write to them"},
			&cli.StringFlag{Name: "consistency", Usage: "ask for `LEVEL`: crash, filesystem or application"},
			&cli.StringFlag{Name: "otherwise", Usage: "`fail|fall-back`: what to do where it is not reached (default fail, where --consistency is given)"},
			&cli.DurationFlag{Name: "freeze-timeout", Usage: "`TIME`: give a freeze up after it (default 10s)"},
			&cli.StringSliceFlag{Name: "freeze-mount", Usage: "freeze only `MOUNTPOINT` of the guest; may be given several times"},
			&cli.StringSliceFlag{Name: "pre", Usage: "run `COMMAND` on this host before the snapshot; may be given several times"},
			&cli.StringSliceFlag{Name: "post", Usage: "run `COMMAND` on this host after it"},
			&cli.StringSliceFlag{Name: "guest-pre", Usage: "run `COMMAND` in the guest, through its agent, before the snapshot"},
			&cli.StringSliceFlag{Name: "guest-post", Usage: "run `COMMAND` in the guest after it"},
			&cli.DurationFlag{Name: "hook-timeout", Usage: "`TIME`: that each of these commands may take (default 30s)"},
			&cli.BoolFlag{Name: "hooks-may-fail", Usage: "make the point also where one fails before the snapshot"},
			&cli.BoolFlag{Name: "raw-bitmaps", Usage: "track changes of raw disks under libvirt; it marks the domain as tainted"},
			&cli.IntFlag{Name: "samples", Usage: "read `N` blocks of each disk again that are said to be unchanged (default 32; -1: none)"},
			&cli.BoolFlag{Name: "accept-vss", Usage: "you know what a backup through VSS does to the logs of SQL Server"},
			&cli.BoolFlag{Name: "new-vm", Usage: "the machine goes on with another VM than before"},
			jsonFlag(),
		}, scratchFlags(), waitFlags()),
		Action: func(c *cli.Context) error {
			r, err := protectRequestOf(c)
			if err != nil {
				return err
			}
			return k.changing(c, func(w *worker) error {
				done, err := w.Protect(c.Context, w.vault, r)
				if err != nil {
					return err
				}
				return showProtect(k, done, c.Bool("json"))
			})
		},
	}
}

// protectRequestOf reads which machine is protected and how.
func protectRequestOf(c *cli.Context) (r api.ProtectRequest, err error) {
	args, err := takeArgs(c, "[NAME]")
	if err != nil {
		return r, err
	}
	if r.Name = args[0]; r.Name != "" {
		if err := checkMachine(r.Name); err != nil {
			return r, err
		}
	}
	if err := wayOf(c, &r); err != nil {
		return r, err
	}
	if err := askedOf(c, &r.Protection); err != nil {
		return r, err
	}
	r.NewVM = c.Bool("new-vm")
	r.Scratch, err = scratchOf(c)
	return r, err
}

// wayOf reads how the machine is reached.
func wayOf(c *cli.Context, r *api.ProtectRequest) (err error) {
	ways := 0
	for _, flag := range []string{"libvirt", "qmp", "disk"} {
		if c.IsSet(flag) {
			ways++
		}
	}
	if ways != 1 {
		return usagef("give one of --libvirt DOMAIN, --qmp SOCKET and --disk NAME=IMAGE").hinted("`holdfast discover` lists the VMs of this host and how to protect each")
	}
	if c.IsSet("qga") && !c.IsSet("qmp") {
		return usagef("--qga goes with --qmp")
	}
	p := &r.Protection
	switch {
	case c.IsSet("libvirt"):
		if p.URI, r.Domain, err = service.ParseDomain(c.String("libvirt")); err != nil {
			return usagef("--libvirt: %v", err)
		}
	case c.IsSet("qmp"):
		if p.QMP, err = absolute(c.String("qmp")); err == nil {
			p.QGA, err = absolute(c.String("qga"))
		}
		if err == nil && p.QMP == "" {
			err = usagef("--qmp is empty")
		}
	default:
		p.Images, err = parseImageDisks(c.StringSlice("disk"))
	}
	if err == nil && r.Name == "" && len(p.Images) > 0 {
		err = usagef("NAME is missing").hinted("images do not say what their machine is called")
	}
	return err
}

// parseImageDisks reads the values of --disk for a record.
func parseImageDisks(values []string) (disks []api.ImageDisk, err error) {
	if _, err := parseDisks(values, false); err != nil {
		return nil, err
	}
	for _, value := range values {
		name, spec, _ := strings.Cut(value, "=")
		d, err := backup.ParseImageDisk(name, spec)
		if err != nil {
			return nil, usagef("--disk %s: %v", name, err)
		}
		disks = append(disks, api.ImageDisk{Name: d.Name, Path: d.Path, Format: d.Format, Backing: d.Backing})
	}
	return disks, nil
}

// askedOf reads what is asked of backups.
func askedOf(c *cli.Context, p *api.Protection) error {
	p.Exclude, p.Shareable, p.Mounts = c.StringSlice("exclude"), c.Bool("shareable"), c.StringSlice("freeze-mount")
	p.RawBitmaps, p.AcceptVSS, p.Samples = c.Bool("raw-bitmaps"), c.Bool("accept-vss"), c.Int("samples")
	if c.IsSet("samples") && p.Samples <= 0 {
		p.Samples = -1
	}
	p.Consistency, p.Otherwise = c.String("consistency"), c.String("otherwise")
	switch {
	case c.IsSet("consistency") && !slices.Contains([]string{"crash", "filesystem", "application"}, p.Consistency):
		return usagef("--consistency %.40q: choose crash, filesystem or application", p.Consistency)
	case p.Otherwise != "" && p.Consistency == "":
		return usagef("--otherwise goes with --consistency")
	case !slices.Contains([]string{"", "fail", "fall-back"}, p.Otherwise):
		return usagef("--otherwise %.40q: choose fail or fall-back", p.Otherwise)
	}
	for _, name := range p.Exclude {
		if err := blockstore.CheckDiskName(name); err != nil {
			return usagef("--exclude: %v", err)
		}
	}
	freeze, hook := c.Duration("freeze-timeout"), c.Duration("hook-timeout")
	if freeze < 0 || hook < 0 || freeze > service.MaxFreezeTimeout || hook > service.MaxHookTimeout {
		return usagef("choose more than 0 and at most 5m for --freeze-timeout, 1h for --hook-timeout")
	}
	p.FreezeTimeout = freeze.Seconds()
	for _, place := range []string{"host", "guest"} {
		prefix := map[string]string{"guest": "guest-"}[place]
		for _, command := range c.StringSlice(prefix + "pre") {
			p.Hooks = append(p.Hooks, api.Hook{Place: place, Pre: command, ContinueOnFailure: c.Bool("hooks-may-fail"), Timeout: hook.Seconds()})
		}
		for _, command := range c.StringSlice(prefix + "post") {
			p.Hooks = append(p.Hooks, api.Hook{Place: place, Post: command, Timeout: hook.Seconds()})
		}
	}
	return nil
}

func showProtect(k *console, r api.Protect, asJSON bool) error {
	for _, w := range r.Warnings {
		k.warn(w)
	}
	if asJSON {
		return k.json(r)
	}
	p := r.Machine.Protection
	k.printf("machine %s is protected: %s\n", r.Machine.Name, vmWords(p))
	k.printf("consistency: %s, otherwise %s%s\n", p.Consistency, p.Otherwise, parenthesis(r.Why))
	if err := showDiskPlan(k, r.Plan, r.LeftOut); err != nil {
		return err
	}
	for _, i := range p.Images {
		if i.Unreadable != "" && !slices.Contains(p.Exclude, i.Name) {
			k.say("note: disk %s (%s) is in no point that is made while the VM is off: %s", i.Name, i.Path, i.Unreadable)
		}
	}
	k.printf("`holdfast backup %s` makes a recovery point\n", r.Machine.Name)
	return nil
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// vmWords say which VM a machine stands for.
func vmWords(p *api.Protection) string {
	switch p.Kind {
	case "libvirt":
		return fmt.Sprintf("domain %q at %s (%s)", p.VM, p.URI, p.UUID)
	case "qemu":
		id := ""
		if p.UUID != "" {
			id = " (" + p.UUID + ")"
		}
		return fmt.Sprintf("QEMU process %q%s at %s", p.VM, id, p.QMP)
	}
	return count(len(p.Images), "image") + " of a machine that is off"
}

// showDiskPlan prints what a backup will do with each disk.
func showDiskPlan(k *console, plan []api.DiskPlan, left []api.LeftOut) error {
	rows := [][]string{{"DISK", "SIZE", "MODE", "TO READ", "SCRATCH", "WHY"}}
	size := func(n int64) string {
		if n == 0 {
			return "?"
		}
		return formatSize(n)
	}
	for _, d := range plan {
		why := d.Reason
		if d.Refusal != "" {
			why = "CANNOT BE BACKED UP: " + d.Refusal
		}
		read := formatSize(d.ToRead)
		if d.ToRead == 0 && d.Mode == "scan" {
			read = "?"
		}
		rows = append(rows, []string{d.Name, size(d.Size), d.Mode, read, dash(d.Scratch), dash(why)})
	}
	if err := k.table(rows, 1, 3); err != nil {
		return err
	}
	for _, d := range plan {
		if d.Warning != "" {
			k.say("note: disk %s: %s", d.Name, d.Warning)
		}
	}
	for _, l := range left {
		k.printf("left out: disk %s, %s\n", l.Name, l.Reason)
	}
	return nil
}
