package main

import (
	"context"
	"math"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
)

func vaultRebuildIndexCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "rebuild-index",
		Usage: "make the index again from what it describes",
		Description: `The index tells a backup what the vault holds already. It is never the only copy of
anything: this throws it away and makes it again from segments and packs. It is
seldom needed, since a backup does so by itself when it cannot open the index.`,
		UsageText: "holdfast vault rebuild-index --vault /srv/vault",
		Flags:     waitFlags(),
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			path, err := k.vaultPath(c)
			if err != nil {
				return err
			}
			o, err := ownOptionsOf(k, c)
			if err != nil {
				return err
			}
			return rebuildIndex(c.Context, k, path, o, c.Bool("quiet"))
		},
	}
}

func rebuildIndex(ctx context.Context, k *console, path string, o blockstore.OwnOptions, quiet bool) error {
	giveBack, err := k.borrow(ctx, path, o.Wait)
	if err != nil {
		return err
	}
	defer giveBack()
	err = k.measure("index", false, quiet, func(set func(done, total int64)) error {
		return blockstore.RebuildIndex(ctx, path, o, func(packs, total int) { set(int64(packs), int64(total)) })
	})
	if err != nil {
		return leaving(ctx, orUnreachable(path, err), "the old index is still in place")
	}
	k.printf("made the index of vault %s again\n", path)
	return nil
}

// waitFlags say how long a command that writes waits for the vault.
func waitFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "wait", Value: 10 * time.Minute, Usage: "wait up to `TIME` for another command to leave the vault (default 10m)"},
		&cli.BoolFlag{Name: "no-wait", Usage: "fail at once when another command uses the vault"},
	}
}

func waitOf(c *cli.Context) time.Duration {
	if c.Bool("no-wait") {
		return 0
	}
	return max(c.Duration("wait"), 0)
}

// jobWait is how long a job of a daemon may wait for its turn, in seconds; nil: nobody said.
func jobWait(c *cli.Context) *int64 {
	if !c.Bool("no-wait") && !c.IsSet("wait") {
		return nil
	}
	seconds := int64(math.Ceil(waitOf(c).Seconds()))
	return &seconds
}

// waiting says for whom a command waits.
func (k *console) waiting(e *blockstore.BusyError) { k.say("waiting: %v", e) }
