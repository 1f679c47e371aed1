package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// What the commands that forget share.

// forgetting opens a vault to forget points in it, full or not, does that, and
// leaves it.
func (k *console) forgetting(ctx context.Context, path string, wait time.Duration, do func(*blockstore.Owner) error) error {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	o, err := blockstore.Own(ctx, path, blockstore.OwnOptions{
		Options: open, Wait: wait, Waiting: k.waiting, Reclaim: true,
	})
	if err != nil {
		return leaving(ctx, orVaultMissing(path, err), "nothing was changed")
	}
	err = do(o)
	if closed := o.Close(); closed != nil && err == nil {
		k.warn(fmt.Sprintf("it was done, but leaving the vault failed: %v", closed))
	}
	return err
}

// pointArgs returns the arguments, each MACHINE@POINT; least is how many there
// are at least.
func pointArgs(c *cli.Context, least int) ([]pointRef, error) {
	given := c.Args().Slice()
	if len(given) < least {
		return nil, usagef("MACHINE@POINT is missing")
	}
	var refs []pointRef
	for _, s := range given {
		ref, err := parsePointRef(s)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// where says among which points one is looked for.
type where int

const (
	listed   where = iota
	trashed        // those in the trash alone
	anywhere       // latest is a listed one
)

// findPoints finds the points that refs mean, each once.
func findPoints(ctx context.Context, v *blockstore.Vault, refs []pointRef, in where) ([]*blockstore.Point, error) {
	var found []*blockstore.Point
	seen := map[blockstore.PointID]bool{}
	for _, ref := range refs {
		p, err := findIn(ctx, v, ref, in)
		if err != nil {
			return nil, err
		}
		if !seen[p.ID] {
			found = append(found, p)
		}
		seen[p.ID] = true
	}
	return found, nil
}

func findIn(ctx context.Context, v *blockstore.Vault, ref pointRef, in where) (*blockstore.Point, error) {
	if in == listed || in == anywhere && ref.point == "latest" {
		return findPoint(ctx, v, ref)
	}
	points, unread := v.Trash(ctx)
	if in == anywhere {
		more, err := v.Points(ctx)
		points, unread = append(points, more...), errors.Join(unread, err)
	}
	of, who, err := machinePoints(ctx, v, points, ref.machine)
	if err == nil {
		var p *blockstore.Point
		if p, err = blockstore.FindPoint(of, who, ref.point); err == nil {
			return p, nil
		}
	}
	if _, e := findPoint(ctx, v, ref); e == nil && in == trashed {
		return nil, fmt.Errorf("point %s@%s: %w", ref.machine, ref.point, blockstore.ErrNotDeleted)
	}
	if in == trashed {
		err = &hintError{err, "`holdfast trash` lists what is in the trash"}
	}
	return nil, errors.Join(err, unread)
}

// pointName is how a point is named to people.
func pointName(p *blockstore.Point) string {
	return fmt.Sprintf("%s@%s (%s)", p.MachineName, p.Label(), p.ID)
}

// pointNames are the arguments that name points on a command line.
func pointNames(points []*blockstore.Point) string {
	var names []string
	for _, p := range points {
		names = append(names, p.MachineName+"@"+string(p.ID))
	}
	return strings.Join(names, " ")
}

// count writes a number of things.
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
