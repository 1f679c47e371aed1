package main

import (
	"context"
	"fmt"
	"regexp"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func pointGiveUpCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "give-up",
		Usage:     "drop a damaged recovery point for good",
		ArgsUsage: "MACHINE@POINT",
		Description: `Where a piece of a point's map is damaged, nobody can tell what else the point holds, and
sweep removes nothing from the vault. This drops such a point at once, without trash. What
can still be read of it can be taken out first with restore --skip-damaged; a backup of
the same content may heal it. A point of which nothing is damaged is refused, so is a locked one.
A point whose record is damaged is named by its id.`,
		UsageText: "holdfast point give-up web1@p0123456789abcdef --vault /srv/vault",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "MACHINE@POINT")
			if err != nil {
				return err
			}
			ref, err := parsePointRef(args[0])
			if err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			id, err := findHarmed(c.Context, k, path, ref)
			if err != nil {
				return err
			}
			if err := k.confirm(c.Bool("yes"), id, fmt.Sprintf("point %s of %s is dropped for good", id, ref.Machine)); err != nil {
				return err
			}
			return k.changing(c, func(w *worker) error {
				if _, err := w.GiveUpPoint(c.Context, w.vault, api.PointRef{Machine: ref.Machine, Point: id}); err != nil {
					return leaving(c.Context, err, "nothing was changed")
				}
				k.printf("gave up point %s of %s\n", id, ref.Machine)
				return nil
			})
		},
	}
}

var fullID = regexp.MustCompile(`^p[0-9a-f]{16}$`)

// findHarmed returns the id of a point, also of one whose record cannot be read.
func findHarmed(ctx context.Context, k *console, path string, ref pointRef) (string, error) {
	if w := k.reader(ctx, path); w != nil {
		defer w.close()
		p, err := farPoint(ctx, w, ref)
		if err != nil && fullID.MatchString(ref.Point) { // its record may be what is damaged
			return ref.Point, nil
		}
		return p.ID, err
	}
	v, err := openVault(ctx, k, path)
	if err != nil {
		return "", err
	}
	defer v.Close()
	_, id, err := service.FindHarmed(ctx, v, ref)
	return string(id), err
}
