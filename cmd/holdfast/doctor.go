package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func doctorCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		Usage:     "look for what may be wrong with a machine's VM, and for leftovers of ours in it",
		ArgsUsage: "MACHINE",
		Description: `Says how the VM is, whether its guest agent answers, what runs that died left in it (exports, jobs,
nodes, bitmaps and checkpoints of this vault, scratch files), and what a backup would do with
each disk now. With --clean it removes the leftovers; every backup begins with that, too.
What others made is never touched. --clean --bitmaps also removes what the next backup would count
changes from; it reads the disks whole then. QEMU reverts a disk to an internal snapshot (virsh
snapshot-revert, loadvm, qemu-img snapshot -a) only when no bitmap is on it.`,
		UsageText: "holdfast doctor web1 --vault /srv/vault\nholdfast doctor web1 --clean\nholdfast doctor web1 --clean --bitmaps",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "clean", Usage: "remove what is left of runs that died"},
			&cli.BoolFlag{Name: "bitmaps", Usage: "with --clean: remove the bitmaps and checkpoints, too, from which the next backup would count"},
			jsonFlag(),
		}, scratchFlags()...), waitFlags()...),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE")
			if err != nil {
				return err
			}
			o := doctorOptions{name: args[0], clean: c.Bool("clean"), bitmaps: c.Bool("bitmaps"), json: c.Bool("json"), wait: waitOf(c)}
			if o.bitmaps && !o.clean {
				return usagef("--bitmaps goes with --clean")
			}
			if o.vault, o.reach, err = k.machineArgs(c, o.name); err != nil {
				return err
			}
			return doctor(c.Context, k, o)
		},
	}
}

type doctorOptions struct {
	vault, name string
	clean, json bool
	bitmaps     bool // remove also those that are needed
	reach       backup.Reaching
	wait        time.Duration
}

func doctor(ctx context.Context, k *console, o doctorOptions) error {
	var found api.Doctor
	look := func(v *blockstore.Vault) (err error) {
		found, err = o.look(ctx, v)
		return err
	}
	var err error
	if o.clean { // so that no backup commits meanwhile
		err = k.owning(ctx, o.vault, o.wait, func(owner *blockstore.Owner) error { return look(owner.Vault) })
	} else {
		var v *blockstore.Vault
		if v, err = openVault(ctx, k, o.vault); err == nil {
			defer v.Close()
			err = look(v)
		}
	}
	if err != nil {
		return err
	}
	return showDoctor(k, found, o.json)
}

func (o *doctorOptions) look(ctx context.Context, v *blockstore.Vault) (api.Doctor, error) {
	found := api.Doctor{Machine: o.name, Leftovers: []string{}, Plan: []api.DiskPlan{}, LeftOut: []api.LeftOut{}, Warnings: []string{}}
	m, err := service.FindMachine(ctx, v, o.name)
	if err != nil {
		return found, err
	}
	if m.Protected == nil {
		return found, fmt.Errorf("machine %s %w", m.Name, backup.ErrNotProtected)
	}
	vm, err := o.reach.Open(ctx, m.Protected)
	if err != nil {
		return found, err
	}
	defer vm.Close()
	facts, err := vm.Facts(ctx)
	if err != nil {
		return found, err
	}
	if _, err := backup.Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return found, err
	}
	newest, err := service.NewestBitmap(ctx, v, m.ID)
	if err != nil {
		return found, err
	}
	if o.bitmaps {
		found.Cleaned, newest = true, ""
		list, err := backup.TakeOut(ctx, vm, string(v.Info().ID))
		found.Leftovers = append(found.Leftovers, list...)
		if err != nil {
			return found, err
		}
	} else if live, ok := vm.(backup.LiveVM); ok {
		work := live.Leftovers
		if o.clean {
			work, found.Cleaned = live.Clean, true
		}
		list, err := work(ctx, string(v.Info().ID), newest)
		found.Leftovers = append(found.Leftovers, list...)
		if err != nil {
			return found, err
		}
	}
	e, err := service.Examine(ctx, vm, m.Protected, newest)
	if err != nil {
		return found, err
	}
	found.VM, found.UUID, found.State, found.Agent = facts.VM.Name, facts.VM.UUID, facts.Status, "answers"
	if e.Agent != nil {
		found.Agent = e.Agent.Error()
	}
	found.Plan, found.LeftOut = service.DescribePlans(e.Plan), service.DescribeLeftOut(e.LeftOut)
	found.Warnings = append(found.Warnings, service.ProtectWarnings(m.Protected, e)...)
	if err := v.CheckHeld(m); errors.Is(err, blockstore.ErrMachineHeld) {
		found.Warnings = append(found.Warnings, err.Error())
	}
	return found, nil
}

func showDoctor(k *console, d api.Doctor, asJSON bool) error {
	for _, w := range d.Warnings {
		k.warn(w)
	}
	if len(d.Leftovers) > 0 && !d.Cleaned {
		k.warn(fmt.Sprintf("%s of ours in the VM; `holdfast doctor %s --clean` removes them, and so does the next backup", count(len(d.Leftovers), "leftover"), d.Machine))
	}
	if asJSON {
		return k.json(d)
	}
	k.printf("VM %q is %s; guest agent: %s\n", d.VM, d.State, d.Agent)
	for _, l := range d.Leftovers {
		k.printf("%s: %s\n", map[bool]string{true: "removed", false: "leftover"}[d.Cleaned], l)
	}
	if len(d.Leftovers) == 0 {
		k.printf("nothing of ours is left in it but what the next backup needs\n")
	}
	return showDiskPlan(k, d.Plan, d.LeftOut)
}
