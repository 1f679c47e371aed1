package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultCreateCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "create",
		Usage:     "make a new vault",
		ArgsUsage: "PATH",
		Description: `Makes a vault in PATH, a folder that does not exist yet or is empty. The block size
and whether the vault is encrypted cannot be changed later without copying it into
another one (` + "`holdfast vault copy`" + `). With --sealed it is: a passphrase opens it, asked for
or taken from --passphrase-file, or the identities of age recipients, and the recovery key
on the sheet that is printed once. Print it, and keep it away from the vault.`,
		UsageText: `holdfast vault create /srv/vault
holdfast vault create /srv/vault --sealed --sheet /media/usb/recovery.txt
holdfast vault create /mnt/usb/vault --like /srv/vault --name offsite`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "block-size", Usage: "`SIZE`: that of a block, a power of two from 16KiB to 1MiB (default 64KiB)"},
			&cli.StringFlag{Name: "like", Usage: "take keys and block size of `VAULT`, so that points can be copied between the two"},
			&cli.StringFlag{Name: "name", Usage: "`NAME`: that of the vault (default: that of its folder)"},
			&cli.IntFlag{Name: "trash-days", Usage: "keep deleted points `N` days in the trash, where they can be undeleted (default 14)"},
			&cli.BoolFlag{Name: "sealed", Usage: "encrypt all that the vault holds"},
			&cli.StringSliceFlag{Name: "recipient", Usage: "`age1...`: let the owner of this age identity open it; may be given several times"},
			&cli.StringFlag{Name: "recipients-file", Usage: "`FILE`: one recipient a line"},
			&cli.BoolFlag{Name: "no-recovery-key", Usage: "make no recovery key: nobody can help when all other keys are lost"},
			&cli.StringFlag{Name: "sheet", Usage: "write the recovery sheet to `FILE`, not to standard output"},
			jsonFlag(),
		},
		Action: func(c *cli.Context) error {
			o, err := vaultCreateOf(k, c)
			if err != nil {
				return err
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
	seal             *sealing // nil: not sealed
}

// sealing says how a new vault is sealed.
type sealing struct {
	recipients []string
	recovery   bool
	sheet      string // file; "": standard output
}

func vaultCreateOf(k *console, c *cli.Context) (o vaultCreate, err error) {
	o = vaultCreate{name: c.String("name"), like: c.String("like"), json: c.Bool("json")}
	args, err := takeArgs(c, "[PATH]")
	if err != nil {
		return o, err
	}
	if o.path = args[0]; o.path == "" {
		o.path = c.String("vault")
	}
	switch {
	case o.path == "":
		return o, usagef("PATH is missing").hinted("for example `holdfast vault create /srv/vault`")
	case args[0] != "" && c.IsSet("vault"):
		return o, usagef("the new vault is named twice, by PATH and by --vault")
	case c.IsSet("like") && c.IsSet("block-size"):
		return o, usagef("--like takes the block size of the other vault: leave --block-size out")
	}
	size, err := sizeOf(c, "block-size", 0)
	if err != nil {
		return o, err
	}
	o.blockSize = int(size)
	if c.IsSet("block-size") && (size < 16<<10 || size > 1<<20 || size&(size-1) != 0) {
		return o, usagef("--block-size is %s: choose a power of two from 16KiB to 1MiB", formatSize(size))
	}
	o.trashDays = c.Int("trash-days")
	if c.IsSet("trash-days") && (o.trashDays < 1 || o.trashDays > blockstore.MaxTrashDays) {
		return o, usagef("--trash-days is %d: choose 1 to %d", o.trashDays, blockstore.MaxTrashDays)
	}
	o.seal, err = sealingOf(k, c)
	return o, err
}

func sealingOf(k *console, c *cli.Context) (*sealing, error) {
	if !c.Bool("sealed") {
		for _, name := range []string{"recipient", "recipients-file", "no-recovery-key", "sheet"} {
			if c.IsSet(name) {
				return nil, usagef("--%s is for vaults that are sealed: add --sealed", name)
			}
		}
		if k.keys.given() && !c.IsSet("like") {
			return nil, usagef("a key is given for a vault that is not to be sealed: add --sealed")
		}
		return nil, nil
	}
	s := &sealing{recipients: c.StringSlice("recipient"), recovery: !c.Bool("no-recovery-key"), sheet: c.String("sheet")}
	if file := c.String("recipients-file"); file != "" {
		list, err := recipientsIn(file)
		if err != nil {
			return nil, usagef("--recipients-file: %v", err)
		}
		s.recipients = append(s.recipients, list...)
	}
	switch {
	case c.IsSet("like"):
		return nil, usagef("--like takes the keys of the other vault, and is sealed if that is: leave --sealed out")
	case len(k.keys.identities) > 0:
		return nil, usagef("--identity opens a vault that is there; a new one is made for --recipient")
	case c.IsSet("sheet") && (s.sheet == "" || !s.recovery):
		return nil, usagef("--sheet: there is no recovery key to write, or no file to write it to")
	case c.Bool("json") && s.recovery && s.sheet == "":
		return nil, usagef("the recovery sheet would stand among the JSON: add --sheet FILE")
	}
	return s, nil
}

// createVault makes a vault. The file of the sheet is there before the vault
// is, so that no vault is made whose recovery key cannot be kept.
func createVault(ctx context.Context, k *console, o vaultCreate) (err error) {
	create := blockstore.CreateOptions{Name: o.name, BlockSize: o.blockSize, Like: o.like, TrashDays: o.trashDays, Known: k.knownVaults()}
	if o.like != "" {
		if create.Unlock, err = k.unlocker(ctx, k.keys); err != nil {
			return err
		}
	}
	var sheet *recovery
	if o.seal != nil {
		if create.Seal, err = o.seal.ways(ctx, k); err != nil {
			return err
		}
		if o.seal.recovery {
			if sheet, err = newRecovery(k, o.seal.sheet); err != nil {
				return err
			}
			defer sheet.discard()
			create.Seal = append(create.Seal, sheet.seal())
		}
	}
	info, err := blockstore.Create(ctx, o.path, create)
	if err != nil {
		return err
	}
	if !info.Sealed {
		k.say("note: the vault is not encrypted, and this cannot be changed later without copying it into another vault")
	}
	if o.json {
		err = k.json(service.DescribeVault(info))
	} else {
		k.printf("created vault %s in %s, %sblocks of %s\n", info.Name, info.Path, map[bool]string{true: "sealed, "}[info.Sealed], formatSize(int64(info.BlockSize)))
	}
	if sheet != nil {
		if e := sheet.write(k, info); e != nil {
			return service.Hinted(fmt.Errorf("the vault was made, but its recovery sheet was not written: %w", e),
				"`holdfast vault key add --recovery` makes another recovery key and its sheet")
		}
	}
	return err
}

// ways returns the keys that were asked for, the recovery key apart: a
// passphrase where a file names it, and where there is no recipient.
func (s *sealing) ways(ctx context.Context, k *console) ([]blockstore.SealWith, error) {
	var list []blockstore.SealWith
	for _, r := range s.recipients {
		list = append(list, blockstore.SealWith{Recipient: r})
	}
	file := k.keys.passphrase
	if file == "" && len(s.recipients) == 0 {
		file = k.keys.elsewhere(k).passphrase
	}
	if file == "" && len(s.recipients) > 0 {
		return list, k.guardMemory()
	}
	var text string
	var err error
	if file != "" {
		text, err = k.passphraseFile(file)
	} else {
		text, err = k.newPassphrase(ctx)
	}
	return append(list, blockstore.SealWith{Passphrase: text, Work: k.work}), err
}
