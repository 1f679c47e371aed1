package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// What the commands share that change something small.

// changing has do done to a vault by who owns it: a daemon, or this process.
func (k *console) changing(c *cli.Context, do func(*worker) error) error {
	u, err := k.useOf(c)
	if err != nil {
		return err
	}
	w, err := k.operations(c.Context, u)
	if err != nil {
		return err
	}
	defer w.close()
	if w.daemon == "" {
		return do(w)
	}
	return k.untilFree(c.Context, u.own.Wait, func() error { return do(w) })
}

// onPoints is the action of a command that does the same to points.
func onPoints(k *console, change string, told func(*console, api.PointChange)) cli.ActionFunc {
	return func(c *cli.Context) error {
		refs, err := pointArgs(c, 1)
		if err != nil {
			return err
		}
		return changePoints(k, c, api.PointsRequest{Change: change, Points: refs}, told)
	}
}

// changePoints asks for a change of points and tells what became of each.
func changePoints(k *console, c *cli.Context, r api.PointsRequest, told func(*console, api.PointChange)) error {
	return k.changing(c, func(w *worker) error {
		changes, err := w.ChangePoints(c.Context, w.vault, r)
		for _, done := range changes {
			told(k, done)
		}
		return leaving(c.Context, err, fmt.Sprintf("%d of %s were done", len(changes), count(len(r.Points), "point")))
	})
}

// nameOfPoint is how a point is named to people.
func nameOfPoint(p api.Point) string {
	return fmt.Sprintf("%s@%s (%s)", p.Machine, p.Time.UTC().Format(blockstore.LabelLayout), p.ID)
}
