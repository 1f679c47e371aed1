package main

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

func vaultHoldSweepCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "hold-sweep",
		Usage: "keep anything from being removed while the vault is copied",
		Description: `Until the time is over, or --release ends it, no process on any host removes anything
from the vault: a sweep refuses, and says why. Backups go on. Use it around a copy of
the vault with rsync or cp; the README has the order in which to copy.`,
		UsageText: "holdfast vault hold-sweep --for 6h --vault /srv/vault\nholdfast vault hold-sweep --release",
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "for", Usage: "`TIME`: how long, for example 6h; at most 720h"},
			&cli.BoolFlag{Name: "release", Usage: "end it now"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			o := holdOptions{length: c.Duration("for"), release: c.Bool("release"), json: c.Bool("json")}
			switch {
			case c.IsSet("for") && o.release:
				return usagef("--for and --release exclude each other")
			case !c.IsSet("for") && !o.release:
				return usagef("--for is missing").hinted("for example --for 6h; --release ends it")
			case !o.release && (o.length <= 0 || o.length > blockstore.MaxHold):
				return usagef("--for is %v: choose more than 0 and at most %v", o.length, blockstore.MaxHold)
			}
			var err error
			if o.vault, err = k.vaultPath(c); err != nil {
				return err
			}
			return holdSweep(c.Context, k, o)
		},
	}
}

type holdOptions struct {
	vault         string
	length        time.Duration
	release, json bool
}

// holdSweep makes or ends a hold.
func holdSweep(ctx context.Context, k *console, o holdOptions) error {
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
	if o.release {
		n, err := v.ReleaseSweep()
		switch {
		case err != nil:
			return orUnreachable(o.vault, err)
		case o.json:
			return k.json(api.Hold{Released: n})
		case n == 0:
			k.printf("vault %s was not held\n", v.Info().Name)
		default:
			k.printf("vault %s is not held any more\n", v.Info().Name)
		}
		return nil
	}
	until := time.Now().Add(o.length)
	if err := v.HoldSweep(until); err != nil {
		return orUnreachable(o.vault, err)
	}
	if o.json {
		t := api.At(until)
		return k.json(api.Hold{Until: &t})
	}
	k.printf("nothing is removed from vault %s until %s\n", v.Info().Name, k.moment(until, false))
	return nil
}
