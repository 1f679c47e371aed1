package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func holdCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "hold",
		Usage:     "keep hands off machines for a while, as for a migration",
		ArgsUsage: "[MACHINE]",
		Description: `No backup of the machine begins until the time is over, or --release ends it; one that runs goes on.
With --drain the command returns when nothing runs any more, so that the VM can be moved: no
export, no job and no open file of ours is in it then. It ends by itself. Nothing else is kept
from happening: points can be restored and deleted.`,
		UsageText: "holdfast hold web1 --for 2h --drain --vault /srv/vault\nholdfast hold --all --for 8h\nholdfast hold web1 --release",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "all machines of the vault, those too that are protected later"},
			&cli.DurationFlag{Name: "for", Usage: "`TIME`: how long, for example 2h; at most 720h"},
			&cli.BoolFlag{Name: "drain", Usage: "wait until backups that run have ended"},
			&cli.BoolFlag{Name: "release", Usage: "end it now"},
			jsonFlag(),
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			o, err := holdMachinesOf(k, c)
			if err != nil {
				return err
			}
			return holdMachines(c.Context, k, o)
		},
	}
}

type holdMachinesOptions struct {
	vault, name          string // name "": all
	length, wait         time.Duration
	drain, release, json bool
}

func holdMachinesOf(k *console, c *cli.Context) (o holdMachinesOptions, err error) {
	args, err := takeArgs(c, "[MACHINE]")
	if err != nil {
		return o, err
	}
	o = holdMachinesOptions{name: args[0], length: c.Duration("for"), wait: waitOf(c), drain: c.Bool("drain"), release: c.Bool("release"), json: c.Bool("json")}
	switch {
	case (o.name == "") != c.Bool("all"):
		return o, usagef("name a machine, or give --all")
	case c.IsSet("for") && o.release, o.drain && o.release:
		return o, usagef("--release goes with neither --for nor --drain")
	case !c.IsSet("for") && !o.release:
		return o, usagef("--for is missing").hinted("for example --for 2h; --release ends it")
	case !o.release && (o.length <= 0 || o.length > blockstore.MaxHold):
		return o, usagef("--for is %v: choose more than 0 and at most %v", o.length, blockstore.MaxHold)
	}
	if o.name != "" {
		if err := checkMachine(o.name); err != nil {
			return o, err
		}
	}
	o.vault, err = k.vaultPath(c)
	return o, err
}

// holdMachines makes or ends a hold.
func holdMachines(ctx context.Context, k *console, o holdMachinesOptions) error {
	if w := k.reader(ctx, o.vault); w != nil {
		defer w.close()
		return holdFar(ctx, k, w, o)
	}
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	open.Hung = k.hung
	v, err := blockstore.Open(ctx, o.vault, open)
	if err != nil {
		return orUnreachable(o.vault, err)
	}
	defer v.Close()
	var id blockstore.MachineID
	result, who := api.MachineHold{Machines: []string{}}, "all machines"
	if o.name != "" {
		m, err := service.FindMachine(ctx, v, o.name)
		if err != nil {
			return err
		}
		id, who = m.ID, "machine "+m.Name
		result.Machines = append(result.Machines, m.Name)
	}
	if o.release {
		if result.Released, err = v.ReleaseMachine(id); err != nil {
			return orUnreachable(o.vault, err)
		}
		return showHold(k, o, result, who, v.CheckHeld(blockstore.Machine{ID: id, Name: o.name}))
	}
	until := time.Now().Add(o.length)
	if err := v.HoldMachine(id, until); err != nil {
		return orUnreachable(o.vault, err)
	}
	t := api.At(until)
	result.Until = &t
	if o.drain {
		if err := drain(ctx, k, o, result.Machines); err != nil {
			return leaving(ctx, err, fmt.Sprintf("no backup of %s begins until %s, and one may run still", who, k.moment(until, false)))
		}
	}
	return showHold(k, o, result, who, nil)
}

// holdFar has the daemon that owns the vault make or end a hold.
func holdFar(ctx context.Context, k *console, w *worker, o holdMachinesOptions) error {
	who := "all machines"
	if o.name != "" {
		who = "machine " + o.name
	}
	if o.release {
		result, err := w.ReleaseMachine(ctx, w.vault, o.name)
		if err != nil {
			return err
		}
		return showHold(k, o, result, who, nil)
	}
	result, err := w.HoldMachine(ctx, w.vault, o.name, api.At(time.Now().Add(o.length)))
	if err != nil {
		return err
	}
	if o.drain {
		if err := drain(ctx, k, o, result.Machines); err != nil {
			return leaving(ctx, err, fmt.Sprintf("no backup of %s begins until %s, and one may run still", who, k.moment(result.Until.Time, false)))
		}
	}
	return showHold(k, o, result, who, nil)
}

// drain waits until no backup runs that began before the hold: until nobody writes into the vault or,
// where a daemon owns it, until that has no backup left of what is held.
func drain(ctx context.Context, k *console, o holdMachinesOptions, machines []string) error {
	w := k.daemonOf(ctx, o.vault, o.wait)
	if w == nil {
		return k.owning(ctx, o.vault, o.wait, func(*blockstore.Owner) error { return nil })
	}
	defer w.close()
	for ended := time.Now().Add(o.wait); ; {
		running, err := w.Operations.Jobs(ctx, api.JobQuery{Vault: w.vault, Kind: api.JobBackup, State: api.JobRunning})
		if err != nil {
			return err
		}
		running = slices.DeleteFunc(running, func(j api.Job) bool { return len(machines) > 0 && !slices.Contains(machines, j.Machine) })
		if len(running) == 0 {
			return nil
		}
		if time.Now().After(ended) {
			return &api.Problem{Detail: fmt.Sprintf("job %s still backs up machine %s", running[0].ID, running[0].Machine), Exit: exitBusy,
				Hint: fmt.Sprintf("wait longer with --wait, or end it with `holdfast job cancel %s`", running[0].ID)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainEvery):
		}
	}
}

// drainEvery is how often a daemon is asked whether a backup still runs.
const drainEvery = 500 * time.Millisecond

func showHold(k *console, o holdMachinesOptions, r api.MachineHold, who string, still error) error {
	is := "is"
	if o.name == "" {
		is = "are"
	}
	switch {
	case o.json:
		return k.json(r)
	case !o.release:
		k.printf("no backup of %s begins until %s\n", who, k.moment(r.Until.Time, false))
		if o.drain {
			k.printf("nothing of ours runs now\n")
		}
	case still != nil:
		k.printf("%s\n", strings.TrimSpace(still.Error()))
		if o.name != "" {
			k.say("hint: `holdfast hold --all --release` ends a hold of all machines")
		}
	case r.Released == 0:
		k.printf("%s %s not held\n", who, is)
	default:
		k.printf("%s %s not held any more\n", who, is)
	}
	return nil
}
