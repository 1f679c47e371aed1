package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon"
)

func vaultCreateCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a new vault",
		ArgsUsage: "PATH",
		Description: `Makes a vault in PATH, a folder that does not exist yet or is empty. The block size
and whether the vault is encrypted cannot be changed later without copying it into
another one. This version makes vaults that are not encrypted.`,
		UsageText: "holdfast vault create /srv/vault\nholdfast vault create /mnt/usb/vault --like /srv/vault --name offsite",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "block-size", Usage: "`SIZE`: that of a block, a power of two from 16KiB to 1MiB (default 64KiB)"},
			&cli.StringFlag{Name: "like", Usage: "take keys and block size of `VAULT`, so that points can be copied between the two"},
			&cli.StringFlag{Name: "name", Usage: "`NAME`: that of the vault (default: that of its folder)"},
			&cli.IntFlag{Name: "trash-days", Usage: "keep deleted points `N` days in the trash, where they can be undeleted (default 14)"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o := vaultCreate{name: c.String("name"), like: c.String("like"), json: c.Bool("json")}
			args, err := takeArgs(c, "[PATH]")
			if err != nil {
				return err
			}
			if o.path = args[0]; o.path == "" {
				o.path = c.String("vault")
			}
			switch {
			case o.path == "":
				return usagef("PATH is missing").hinted("for example `holdfast vault create /srv/vault`")
			case args[0] != "" && c.IsSet("vault"):
				return usagef("the new vault is named twice, by PATH and by --vault")
			case c.IsSet("like") && c.IsSet("block-size"):
				return usagef("--like takes the block size of the other vault: leave --block-size out")
			}
			size, err := sizeOf(c, "block-size", 0)
			if err != nil {
				return err
			}
			o.blockSize = int(size)
			if c.IsSet("block-size") && (size < 16<<10 || size > 1<<20 || size&(size-1) != 0) {
				return usagef("--block-size is %s: choose a power of two from 16KiB to 1MiB", formatSize(size))
			}
			o.trashDays = c.Int("trash-days")
			if c.IsSet("trash-days") && (o.trashDays < 1 || o.trashDays > blockstore.MaxTrashDays) {
				return usagef("--trash-days is %d: choose 1 to %d", o.trashDays, blockstore.MaxTrashDays)
			}
			return createVault(c.Context, k, o)
		},
	}
}

type vaultCreate struct {
	path, name, like string
	blockSize        int // 0: the default
	trashDays        int // 0: the default
	json             bool
}

func createVault(ctx context.Context, k *console, o vaultCreate) error {
	info, err := blockstore.Create(ctx, o.path, blockstore.CreateOptions{Name: o.name, BlockSize: o.blockSize, Like: o.like, TrashDays: o.trashDays})
	if err != nil {
		return err
	}
	if !info.Sealed {
		k.say("note: the vault is not encrypted, and this cannot be changed later without copying it into another vault")
	}
	if o.json {
		return k.json(daemon.DescribeVault(info))
	}
	k.printf("created vault %s in %s, blocks of %s\n", info.Name, info.Path, formatSize(int64(info.BlockSize)))
	return nil
}
