package main

import (
	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
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
			if err := checkMachine(args[0]); err != nil {
				return err
			}
			r := api.UnprotectRequest{DeletePoints: c.Bool("delete-points"), LeaveBehind: c.Bool("leave-behind")}
			if r.Scratch, err = scratchOf(c); err != nil {
				return err
			}
			if r.DeletePoints {
				if err := k.confirm(c.Bool("yes"), args[0], "all recovery points of machine "+args[0]+" will go into the trash, from where a sweep drops them"); err != nil {
					return err
				}
			}
			return k.changing(c, func(w *worker) error {
				u, err := w.Unprotect(c.Context, w.vault, args[0], r)
				if err != nil {
					return err
				}
				return showUnprotect(k, u, r.DeletePoints, c.Bool("json"))
			})
		},
	}
}

func showUnprotect(k *console, u api.Unprotect, points, asJSON bool) error {
	for _, n := range u.Notes {
		k.say("note: %s", n)
	}
	for _, w := range u.Warnings {
		k.warn(w)
	}
	if asJSON {
		return k.json(u)
	}
	for _, r := range u.Removed {
		k.printf("removed from the VM: %s\n", r)
	}
	k.printf("machine %s is not protected any more\n", u.Machine.Name)
	if points {
		k.printf("%s moved to the trash; `holdfast point undelete` takes them back\n", count(u.Deleted, "point"))
	}
	return nil
}
