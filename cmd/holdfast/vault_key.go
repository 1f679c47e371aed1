package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func vaultKeyCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "key",
		Usage: "the passphrases and identities that open a sealed vault",
		Subcommands: []*cli.Command{
			vaultKeyListCommand(k), vaultKeyAddCommand(k), vaultKeyRemoveCommand(k), vaultKeyPasswdCommand(k),
		},
	}
}

func vaultKeyListCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "list",
		Usage:       "list what opens a sealed vault",
		Description: "Lists the keys of a sealed vault: passphrases, and age recipients whose identities open it.",
		UsageText:   "holdfast vault key list --vault /srv/vault",
		Flags:       []cli.Flag{jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			_, how, err := k.looking(c)
			if err != nil {
				return err
			}
			return listKeys(c.Context, k, how)
		},
	}
}

func listKeys(ctx context.Context, k *console, o listing) error {
	v, err := openVault(ctx, k, o.vault)
	if err != nil {
		return err
	}
	defer v.Close()
	keys := v.Keys()
	if o.json {
		return k.json(service.DescribeKeys(keys))
	}
	if len(keys) == 0 {
		k.say("vault %s is not sealed: it opens without a key", o.vault)
		return nil
	}
	rows := [][]string{{"KEY", "KIND", "ADDED", "NOTE", "RECIPIENT"}}
	for _, key := range keys {
		rows = append(rows, []string{key.ID, key.Kind, k.moment(key.Added, o.local), key.Note, key.Recipient})
	}
	return k.table(rows)
}

func newPassphraseFlag() cli.Flag {
	return &cli.StringFlag{Name: "new-passphrase-file", Usage: "`FILE`: its first line is the new passphrase; without it you are asked"}
}

func vaultKeyAddCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "add",
		Usage: "let another passphrase or identity open a sealed vault",
		Description: `Adds a key: a passphrase, an age recipient, or a recovery key of which a sheet is printed.
The vault must be opened as ever, by a key that it has. No pack is touched.`,
		UsageText: `holdfast vault key add --note "the new colleague"
holdfast vault key add --recipient age1... --note hv2
holdfast vault key add --recovery --sheet /media/usb/recovery.txt`,
		Flags: append([]cli.Flag{
			newPassphraseFlag(),
			&cli.StringFlag{Name: "recipient", Usage: "`age1...`: let the owner of this age identity open it"},
			&cli.BoolFlag{Name: "recovery", Usage: "make a recovery key"},
			&cli.StringFlag{Name: "sheet", Usage: "write the recovery sheet to `FILE`, not to standard output"},
			&cli.StringFlag{Name: "note", Usage: "`TEXT`: what the key is for; everybody can read it"},
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			o := keyAdd{file: c.String("new-passphrase-file"), recipient: c.String("recipient"), recovery: c.Bool("recovery"),
				sheet: c.String("sheet"), note: c.String("note")}
			if _, err := takeArgs(c); err != nil {
				return err
			}
			given := 0
			for _, name := range []string{"new-passphrase-file", "recipient", "recovery"} {
				if c.IsSet(name) {
					given++
				}
			}
			switch {
			case given > 1:
				return usagef("--new-passphrase-file, --recipient and --recovery exclude each other: add one key at a time")
			case c.IsSet("sheet") && !o.recovery:
				return usagef("--sheet goes with --recovery")
			case len(o.note) > 200:
				return usagef("--note has %d bytes, at most 200 are kept", len(o.note))
			}
			return withOwner(k, c, func(v *blockstore.Owner) error { return addKey(c.Context, k, v, o) })
		},
	}
}

type keyAdd struct {
	file, recipient, sheet, note string
	recovery                     bool
}

func addKey(ctx context.Context, k *console, v *blockstore.Owner, o keyAdd) error {
	way := blockstore.SealWith{Work: k.work, Recipient: o.recipient, Note: o.note}
	var sheet *recovery
	var err error
	switch {
	case !v.Info().Sealed: // the error says so, and nobody is asked for nothing
	case o.recovery:
		if sheet, err = newRecovery(k, o.sheet); err != nil {
			return err
		}
		defer sheet.discard()
		way = sheet.seal()
		if o.note != "" {
			way.Note = o.note
		}
	case o.recipient != "":
	case o.file != "":
		way.Passphrase, err = k.passphraseFile(o.file)
	default:
		way.Passphrase, err = k.newPassphrase(ctx)
	}
	if err != nil {
		return err
	}
	id, err := v.AddKey(way)
	if err != nil {
		return err
	}
	k.printf("added key %s\n", id)
	if sheet != nil {
		return sheet.write(k, v.Info())
	}
	return nil
}

const stillOpens = "note: packs written before hold older copies of VAULT: whoever has the removed key and those packs can still open them"

func vaultKeyRemoveCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "remove",
		Usage:     "no longer let a key open a sealed vault",
		ArgsUsage: "KEY",
		Description: `Removes a key, named by its id in ` + "`holdfast vault key list`" + `, never the last one. Packs
that were written before hold copies of VAULT that the key still opens, since VAULT must
survive its loss: when a key got into wrong hands, copy the points into a new vault.`,
		UsageText: "holdfast vault key remove 1a2b3c4d --vault /srv/vault",
		Flags:     waitFlags(),
		Action: func(c *cli.Context) error {
			args, err := takeArgs(c, "KEY")
			if err != nil {
				return err
			}
			return withOwner(k, c, func(v *blockstore.Owner) error {
				switch err := v.RemoveKey(args[0]); {
				case errors.Is(err, blockstore.ErrNotFound):
					return service.Hinted(err, "`holdfast vault key list` lists the keys")
				case err != nil:
					return err
				}
				k.printf("removed key %s\n", args[0])
				k.say(stillOpens)
				return nil
			})
		},
	}
}

func vaultKeyPasswdCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:  "passwd",
		Usage: "change the passphrase of a sealed vault",
		Description: `Adds the new passphrase and removes the old one. Where the vault has several, --key says
which one goes. No pack is touched.`,
		UsageText: "holdfast vault key passwd --vault /srv/vault",
		Flags: append([]cli.Flag{
			newPassphraseFlag(),
			&cli.StringFlag{Name: "key", Usage: "`KEY`: the id of the passphrase that goes"},
		}, waitFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := takeArgs(c); err != nil {
				return err
			}
			return withOwner(k, c, func(v *blockstore.Owner) error {
				return changePassphrase(c.Context, k, v, c.String("key"), c.String("new-passphrase-file"))
			})
		},
	}
}

func changePassphrase(ctx context.Context, k *console, v *blockstore.Owner, old, file string) error {
	var fit []blockstore.Key
	for _, key := range v.Keys() {
		if key.Kind == "passphrase" && (old == "" || key.ID == old) {
			fit = append(fit, key)
		}
	}
	switch {
	case !v.Info().Sealed:
	case len(fit) == 0:
		return service.Hinted(fmt.Errorf("passphrase %s: %w", old, blockstore.ErrNotFound), "`holdfast vault key list` lists the keys; `holdfast vault key add` adds a passphrase")
	case len(fit) > 1:
		return usagef("the vault has %d passphrases", len(fit)).hinted("`holdfast vault key list` lists them; --key KEY says which one goes")
	}
	if err := addKey(ctx, k, v, keyAdd{file: file}); err != nil {
		return err
	}
	if err := v.RemoveKey(fit[0].ID); err != nil {
		return fmt.Errorf("the new passphrase opens the vault now, and the old one still does: %w", err)
	}
	k.printf("removed key %s\n", fit[0].ID)
	k.say(stillOpens)
	return nil
}

// withOwner opens the vault that is named for writing, calls do and closes it.
func withOwner(k *console, c *cli.Context, do func(*blockstore.Owner) error) error {
	path, err := k.vaultPath(c)
	if err != nil {
		return err
	}
	o, err := ownOptionsOf(k, c)
	if err != nil {
		return err
	}
	o.MinFree = -1 // what these commands write is small
	giveBack, err := k.borrow(c.Context, path, o.Wait)
	if err != nil {
		return err
	}
	defer giveBack()
	v, err := blockstore.Own(c.Context, path, o)
	if err != nil {
		return leaving(c.Context, orUnreachable(path, err), "nothing was changed")
	}
	err = do(v)
	if closed := v.Close(); err == nil {
		err = closed
	}
	return err
}
