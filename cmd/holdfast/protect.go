package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
			o, err := protectOptionsOf(k, c)
			if err != nil {
				return err
			}
			return protect(c.Context, k, o)
		},
	}
}

// protectOptions say which machine is protected and how.
type protectOptions struct {
	vault, name string
	record      blockstore.Protection
	domain, uri string // of libvirt; "": it is none
	reach       backup.Reaching
	newVM, json bool
	wait        time.Duration
}

func protectOptionsOf(k *console, c *cli.Context) (o protectOptions, err error) {
	args, err := takeArgs(c, "[NAME]")
	if err != nil {
		return o, err
	}
	if o.name = args[0]; o.name != "" {
		if err := checkMachine(o.name); err != nil {
			return o, err
		}
	}
	if err := o.way(c); err != nil {
		return o, err
	}
	if err := o.asked(c); err != nil {
		return o, err
	}
	scratch, err := scratchOf(c)
	if err != nil {
		return o, err
	}
	o.record.Scratch, o.record.ScratchCap, o.record.ScratchFree = scratch.Folder, scratch.Cap, scratch.LowWater
	o.newVM, o.json, o.wait = c.Bool("new-vm"), c.Bool("json"), waitOf(c)
	o.vault, err = k.vaultPath(c)
	return o, err
}

// way reads how the machine is reached.
func (o *protectOptions) way(c *cli.Context) (err error) {
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
	r := &o.record
	switch {
	case c.IsSet("libvirt"):
		if o.uri, o.domain, err = service.ParseDomain(c.String("libvirt")); err != nil {
			return usagef("--libvirt: %v", err)
		}
	case c.IsSet("qmp"):
		r.QEMU = &blockstore.QEMUVM{}
		if r.QEMU.QMP, err = absolute(c.String("qmp")); err == nil {
			r.QEMU.QGA, err = absolute(c.String("qga"))
		}
		if err == nil && r.QEMU.QMP == "" {
			err = usagef("--qmp is empty")
		}
	default:
		r.VM.Kind = blockstore.KindImages
		r.Images, err = parseImageDisks(c.StringSlice("disk"))
	}
	if err == nil && o.name == "" && len(r.Images) > 0 {
		err = usagef("NAME is missing").hinted("images do not say what their machine is called")
	}
	return err
}

// parseImageDisks reads the values of --disk for a record.
func parseImageDisks(values []string) (disks []blockstore.ImageDisk, err error) {
	if _, err := parseDisks(values, false); err != nil {
		return nil, err
	}
	for _, value := range values {
		name, spec, _ := strings.Cut(value, "=")
		d, err := backup.ParseImageDisk(name, spec)
		if err != nil {
			return nil, usagef("--disk %s: %v", name, err)
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// asked reads what is asked of backups.
func (o *protectOptions) asked(c *cli.Context) error {
	r := &o.record
	r.Exclude, r.Shareable, r.Mounts = c.StringSlice("exclude"), c.Bool("shareable"), c.StringSlice("freeze-mount")
	r.RawBitmaps, r.AcceptVSS, r.Samples = c.Bool("raw-bitmaps"), c.Bool("accept-vss"), c.Int("samples")
	if c.IsSet("samples") && r.Samples <= 0 {
		r.Samples = -1
	}
	r.Consistency = blockstore.Consistency(c.String("consistency"))
	if c.IsSet("consistency") && !slices.Contains([]blockstore.Consistency{blockstore.Crash, blockstore.Filesystem, blockstore.Application}, r.Consistency) {
		return usagef("--consistency %.40q: choose crash, filesystem or application", r.Consistency)
	}
	switch otherwise := c.String("otherwise"); {
	case otherwise != "" && r.Consistency == "":
		return usagef("--otherwise goes with --consistency")
	case otherwise == "fall-back":
		r.FallBack = true
	case otherwise != "" && otherwise != "fail":
		return usagef("--otherwise %.40q: choose fail or fall-back", otherwise)
	}
	for _, name := range r.Exclude {
		if err := blockstore.CheckDiskName(name); err != nil {
			return usagef("--exclude: %v", err)
		}
	}
	freeze, hook := c.Duration("freeze-timeout"), c.Duration("hook-timeout")
	if freeze < 0 || hook < 0 || freeze > 5*time.Minute || hook > time.Hour {
		return usagef("choose more than 0 and at most 5m for --freeze-timeout, 1h for --hook-timeout")
	}
	r.FreezeTimeout = freeze.Milliseconds()
	for _, h := range []blockstore.Hook{{}, {Guest: true}} {
		h.GoOn, h.Limit = c.Bool("hooks-may-fail"), hook.Milliseconds()
		place := map[bool]string{true: "guest-"}[h.Guest]
		for _, command := range c.StringSlice(place + "pre") {
			r.Hooks = append(r.Hooks, blockstore.Hook{Pre: command, Guest: h.Guest, GoOn: h.GoOn, Limit: h.Limit})
		}
		for _, command := range c.StringSlice(place + "post") {
			r.Hooks = append(r.Hooks, blockstore.Hook{Post: command, Guest: h.Guest, Limit: h.Limit})
		}
	}
	return nil
}

// protect examines the VM, notes it in the vault and says what backups will cost.
func protect(ctx context.Context, k *console, o protectOptions) error {
	r := &o.record
	if o.domain != "" {
		if err := service.FindDomain(ctx, r, o.uri, o.domain); err != nil {
			return err
		}
	}
	vm, err := o.reach.Open(ctx, r)
	if err != nil {
		return err
	}
	defer vm.Close()
	var result api.Protect
	err = k.owning(ctx, o.vault, o.wait, func(owner *blockstore.Owner) error {
		newest, err := o.known(ctx, owner)
		if err != nil {
			return err
		}
		e, err := service.Examine(ctx, vm, r, newest)
		if err != nil {
			return err
		}
		result, err = o.note(ctx, owner, vm, e)
		return err
	})
	if err != nil {
		return err
	}
	return showProtect(k, result, o.json)
}

// known compares the VM with the one that the machine stood for before, if there is one, and
// returns the bitmap of its newest point.
func (o *protectOptions) known(ctx context.Context, owner *blockstore.Owner) (string, error) {
	if o.name == "" {
		return "", nil
	}
	m, err := owner.Machine(ctx, o.name)
	if errors.Is(err, blockstore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if m.Protected != nil {
		o.record.Since = m.Protected.Since
	}
	return service.NewestBitmap(ctx, owner.Vault, m.ID)
}

// note writes the machine's record.
func (o *protectOptions) note(ctx context.Context, owner *blockstore.Owner, vm backup.VM, e *service.Examination) (result api.Protect, err error) {
	r := &o.record
	kind := r.VM.Kind
	if r.VM = e.Facts.VM; r.VM.Kind == "" {
		r.VM.Kind = kind
	}
	r.VM.Host, r.Windows = "", e.Windows
	if r.Consistency == "" {
		result.Why = e.ChooseConsistency(r)
	}
	if r.Since.IsZero() {
		r.Since = time.Now().UTC().Truncate(time.Second)
	}
	if remembers, ok := vm.(interface{ Remember() []blockstore.ImageDisk }); ok && r.QEMU != nil {
		r.Images = remembers.Remember()
	}
	if r.ExcludedAt, err = backup.WhereExcluded(ctx, vm, r.Exclude); err != nil {
		return result, err
	}
	if o.name == "" {
		machines, err := owner.Machines(ctx)
		if err != nil {
			return result, err
		}
		o.name = backup.SafeName(r.VM.Name, 64, func(s string) bool {
			return slices.ContainsFunc(machines, func(m blockstore.Machine) bool { return m.Name == s && !standsFor(m, r) })
		})
	}
	if before, err := owner.Machine(ctx, o.name); err == nil && before.Protected != nil && !o.newVM {
		if _, err := backup.Identify(o.name, before.Protected.VM, r.VM); err != nil {
			return result, err
		}
	}
	m, err := owner.Protect(ctx, o.name, *r)
	if err != nil {
		return result, err
	}
	result.Machine, result.Plan, result.LeftOut = service.DescribeMachine(m), service.DescribePlans(e.Plan), service.DescribeLeftOut(e.LeftOut)
	result.Machine.State = e.Facts.Status
	result.Warnings = protectWarnings(r, e)
	return result, nil
}

// standsFor tells whether a machine is the VM of a record already.
func standsFor(m blockstore.Machine, r *blockstore.Protection) bool {
	return m.Protected != nil && r.VM.UUID != "" && m.Protected.VM.UUID == r.VM.UUID
}

func protectWarnings(r *blockstore.Protection, e *service.Examination) []string {
	warnings := []string{}
	if r.Windows && !r.AcceptVSS && r.Consistency != blockstore.Crash {
		warnings = append(warnings, service.VSSWarning)
	}
	for _, name := range e.Unknown {
		warnings = append(warnings, fmt.Sprintf("disk %s is to be left out, and the VM has no such disk now", name))
	}
	if r.Consistency != blockstore.Crash && e.Agent != nil && e.Facts.On {
		warnings = append(warnings, fmt.Sprintf("consistency %s needs the guest agent, and none answers now: %v", r.Consistency, e.Agent))
	}
	for _, p := range e.Plan {
		if p.Refusal != "" {
			warnings = append(warnings, fmt.Sprintf("disk %s cannot be backed up as it is: %s", p.Name, p.Refusal))
		}
	}
	return warnings
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
