package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// What the commands that forget share.

// forgetting opens a vault to forget points in it, full or not, does that, and
// leaves it.
func (k *console) forgetting(ctx context.Context, path string, wait time.Duration, do func(*blockstore.Owner) error) error {
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return err
	}
	giveBack, err := k.borrow(ctx, path, wait)
	if err != nil {
		return err
	}
	defer giveBack()
	o, err := blockstore.Own(ctx, path, blockstore.OwnOptions{
		Options: open, Wait: wait, Waiting: k.waiting, Still: k.notYet(path), Reclaim: true,
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
func count[N int | int64](n N, thing string) string { return service.Count(n, thing) }
