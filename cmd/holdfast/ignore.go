package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func ignoreCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "ignore",
		Usage:     "say that a machine or VM needs no protection",
		ArgsUsage: "[NAME...]",
		Description: `` + "`holdfast status`" + ` counts VMs of this host that nobody protects, and machines that no policy
covers, as at risk. Those that are ignored by name are not; a VM also by its UUID, and one that has neither by its
first disk, as disk:PATH (the status prints that). The list lies in the state folder of this host. Without a
name, it is printed.`,
		UsageText: "holdfast ignore scratch-vm\nholdfast ignore disk:/srv/scratch/try.qcow2\nholdfast ignore scratch-vm --remove\nholdfast ignore",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "remove", Usage: "it does need protection"}, stateFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			names := c.Args().Slice()
			if c.Bool("remove") && len(names) == 0 {
				return usagef("NAME is missing")
			}
			dir, err := k.stateDir(c)
			if err != nil {
				return err
			}
			w, done, err := k.watching(c.Context, c.String("vault"), dir, false)
			if err != nil {
				return err
			}
			defer done()
			list, err := w.Ignore(c.Context, api.IgnoreRequest{Names: names, Remove: c.Bool("remove")})
			if err != nil {
				return err
			}
			if c.Bool("json") {
				return k.json(list)
			}
			if len(list) == 0 {
				k.printf("nothing is ignored\n")
				return nil
			}
			k.printf("ignored: %s\n", strings.Join(list, ", "))
			return nil
		},
	}
}
