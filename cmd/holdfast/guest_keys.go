package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// guestKeyFlags are the flags by which encrypted volumes of guests are opened.
func guestKeyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "guest-passphrase-file", Usage: "`FILE`: its first line, a passphrase or recovery key, opens encrypted volumes of the guest; several times"},
		&cli.StringSliceFlag{Name: "guest-key-file", Usage: "`FILE`: a key file of an encrypted volume of the guest, or its startup key (.BEK); several times if need be"},
	}
}

// guestKeys reads the files that the command line names; nil: it names none.
func (k *console) guestKeys(c *cli.Context) (*guestfs.Keys, error) {
	passphrases, files, err := k.guestSecrets(c)
	if err != nil || len(passphrases)+len(files) == 0 {
		return nil, err
	}
	return guestfs.NewKeys(append(passphrases, files...)...), nil
}

// guestSecrets reads them as what they are.
func (k *console) guestSecrets(c *cli.Context) (passphrases, files [][]byte, err error) {
	for _, name := range c.StringSlice("guest-passphrase-file") {
		line, err := k.passphraseFile(name)
		if err != nil {
			return nil, nil, fmt.Errorf("--guest-passphrase-file: %w", err)
		}
		passphrases = append(passphrases, []byte(line))
	}
	for _, name := range c.StringSlice("guest-key-file") {
		text, err := k.secretFile(name)
		if err == nil && text == "" {
			err = fmt.Errorf("%s is empty", name)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("--guest-key-file: %w", err)
		}
		files = append(files, []byte(text))
	}
	return passphrases, files, nil
}

// maxAsked is how often a person is asked for a passphrase of a guest.
const maxAsked = 3

// unlocked does what may meet an encrypted volume, and asks whoever sits at the terminal
// for its passphrase when the command line gave none.
func (g *guests) unlocked(ctx context.Context, ref pointRef, do func() error) error {
	for {
		err := do()
		var locked *guestfs.UnreadableError
		if !errors.As(err, &locked) || !locked.Locked || g.k.ask == nil || g.given || g.asked == maxAsked {
			return err
		}
		if g.asked++; g.asked > 1 {
			g.k.say("that passphrase does not open volume %s", locked.Volume)
		}
		secret, askErr := g.k.askSecret(ctx, fmt.Sprintf("passphrase of volume %s of %s: ", locked.Volume, ref.Machine))
		if askErr != nil || secret == "" {
			return errors.Join(err, askErr)
		}
		if g.keys == nil {
			g.keys = guestfs.NewKeys()
		}
		g.keys.Add([]byte(secret))
		clear(g.open) // to be opened again, with the key
	}
}
