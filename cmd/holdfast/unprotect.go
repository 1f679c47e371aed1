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

func unprotectCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "unprotect",
		Usage:     "end the protection of a machine, and take what is ours out of its VM",
		ArgsUsage: "MACHINE",
		Description: `Removes this vault's bitmaps and checkpoints from the VM, also from one that is off, and forgets how
the machine is backed up. Its recovery points stay and can be restored. With --delete-points they
go into the trash, after the machine's name was typed. A VM that is gone needs nothing; where it
does not answer, nothing is changed unless --leave-behind says so.`,
		UsageText: "holdfast unprotect web1 --vault /srv/vault",
		Flags: append(append([]cli.Flag{
			&cli.BoolFlag{Name: "delete-points", Usage: "move its points to the trash, too"},
			&cli.BoolFlag{Name: "leave-behind", Usage: "go on where the VM cannot be reached; what is ours stays in it"},
			&cli.BoolFlag{Name: "yes", Usage: "confirm --delete-points where nobody can be asked"},
			jsonFlag(),
		}, scratchFlags()...), waitFlags()...),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE")
			if err != nil {
				return err
			}
			o := unprotectOptions{name: args[0], points: c.Bool("delete-points"), leave: c.Bool("leave-behind"), yes: c.Bool("yes"), json: c.Bool("json"), wait: waitOf(c)}
			if o.vault, o.reach, err = k.machineArgs(c, o.name); err != nil {
				return err
			}
			return unprotect(c.Context, k, o)
		},
	}
}

type unprotectOptions struct {
	vault, name              string
	points, leave, yes, json bool
	reach                    backup.Reaching
	wait                     time.Duration
}

// unprotect cleans the VM first: as long as something of ours may be in it, the
// machine's record says where it is.
func unprotect(ctx context.Context, k *console, o unprotectOptions) error {
	if o.points {
		if err := k.confirm(o.yes, o.name, "all recovery points of machine "+o.name+" will go into the trash, from where a sweep drops them"); err != nil {
			return err
		}
	}
	result := api.Unprotect{Removed: []string{}}
	err := k.owning(ctx, o.vault, o.wait, func(owner *blockstore.Owner) error {
		m, err := service.FindMachine(ctx, owner.Vault, o.name)
		if err != nil {
			return err
		}
		if m.Protected == nil && !o.points {
			return service.Hinted(fmt.Errorf("machine %s %w", m.Name, backup.ErrNotProtected), "--delete-points moves its points to the trash")
		}
		if m.Protected != nil {
			removed, err := cleanVM(ctx, owner, m, o.reach)
			result.Removed = append(result.Removed, removed...)
			switch {
			case errors.Is(err, backup.ErrGone):
				k.say("note: %v", err)
			case err != nil && !o.leave:
				return service.Hinted(fmt.Errorf("unprotect machine %s: what is ours cannot be taken out of its VM: %w", m.Name, err), "try again when it answers, or leave it there with --leave-behind; nothing was changed in the vault")
			case err != nil:
				k.warn(fmt.Sprintf("what is ours stays in the VM: %v", err))
			}
			if m, err = owner.Unprotect(ctx, m.ID); err != nil {
				return err
			}
		}
		result.Machine = service.DescribeMachine(m)
		if o.points {
			result.Deleted, err = deleteAll(ctx, owner, m.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	if o.json {
		return k.json(result)
	}
	for _, r := range result.Removed {
		k.printf("removed from the VM: %s\n", r)
	}
	k.printf("machine %s is not protected any more\n", result.Machine.Name)
	if o.points {
		k.printf("%s moved to the trash; `holdfast point undelete` takes them back\n", count(result.Deleted, "point"))
	}
	return nil
}

// cleanVM takes all that is this vault's out of a machine's VM. Of another VM in its place
// nothing is ours.
func cleanVM(ctx context.Context, owner *blockstore.Owner, m blockstore.Machine, reach backup.Reaching) ([]string, error) {
	vm, err := reach.Open(ctx, m.Protected)
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	facts, err := vm.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := backup.Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return nil, fmt.Errorf("%w: %w", backup.ErrGone, err)
	}
	return backup.TakeOut(ctx, vm, string(owner.Info().ID))
}

// deleteAll moves the points of a machine to the trash.
func deleteAll(ctx context.Context, owner *blockstore.Owner, id blockstore.MachineID) (deleted int, err error) {
	points, err := owner.Points(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range points {
		if p.Machine != id {
			continue
		}
		if err := owner.Delete(p); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}
