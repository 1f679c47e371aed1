package main

import (
	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func pointNoteCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "note",
		Usage:     "write a note on a recovery point",
		ArgsUsage: "MACHINE@POINT [TEXT]",
		Description: `Writes a note on a point, in place of the one that it has; without TEXT that is taken away.
` + "`holdfast point show`" + ` shows it.`,
		UsageText: `holdfast point note web1@latest "before the upgrade" --vault /srv/vault`,
		Flags:     waitFlags(),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT", "[TEXT]")
			if err != nil {
				return err
			}
			ref, err := parsePointRef(args[0])
			if err != nil {
				return err
			}
			return changePoints(k, c, api.PointsRequest{Change: api.NotePoint, Points: []api.PointRef{ref}, Note: args[1]}, func(k *console, done api.PointChange) {
				k.printf("noted on %s\n", nameOfPoint(done.Point))
			})
		},
	}
}
