package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon"
)

// What opens sealed vaults comes from files or from the terminal, never from
// the command line or the environment themselves, which others can read.

// keyFlags are the flags by which every command opens a sealed vault.
func keyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "passphrase-file", Usage: "`FILE`: its first line is the passphrase of a sealed vault; or $HOLDFAST_PASSPHRASE_FILE"},
		&cli.StringSliceFlag{Name: "identity", Usage: "`FILE`: an age identity that opens a sealed vault, several times if need be; or $HOLDFAST_IDENTITY"},
	}
}

// keyFiles are where the keys of a vault lie.
type keyFiles struct {
	passphrase string
	identities []string
}

func (f keyFiles) given() bool { return f.passphrase != "" || len(f.identities) > 0 }

func (k *console) keyFilesOf(c *cli.Context) error {
	for _, name := range []string{"passphrase-file", "identity"} {
		if c.IsSet(name) && strings.Join(append(c.StringSlice(name), c.String(name)), "") == "" {
			return usagef("--%s is empty", name).hinted("give the path of a file")
		}
	}
	k.keys = keyFiles{c.String("passphrase-file"), c.StringSlice("identity")}
	return nil
}

// credential is the name of the systemd credential that holds a passphrase.
const credential = "holdfast-passphrase"

// elsewhere names the files that the environment gives where no flag does: variables
// first, then a credential of systemd.
func (f keyFiles) elsewhere(k *console) keyFiles {
	if f.given() {
		return f
	}
	f.passphrase = k.getenv("HOLDFAST_PASSPHRASE_FILE")
	if list := k.getenv("HOLDFAST_IDENTITY"); list != "" {
		f.identities = filepath.SplitList(list)
	}
	if dir := k.getenv("CREDENTIALS_DIRECTORY"); dir != "" && !f.given() {
		file := filepath.Join(dir, credential)
		if _, err := os.Stat(file); err == nil {
			f.passphrase = file
		}
	}
	return f
}

// unlocker returns what opens a vault: the files that are named or, where none
// is, whoever sits at the terminal.
func (k *console) unlocker(ctx context.Context, files keyFiles) (*blockstore.Unlocker, error) {
	u := &blockstore.Unlocker{}
	files = files.elsewhere(k)
	for _, name := range files.identities {
		text, err := k.secretFile(name)
		if err != nil {
			return nil, fmt.Errorf("read identity: %w", err)
		}
		u.Identities = append(u.Identities, text)
	}
	if files.passphrase != "" {
		u.Passphrase = once(func() (string, error) { return k.passphraseFile(files.passphrase) })
	}
	if k.ask != nil {
		u.Ask = once(func() (string, error) { return k.askSecret(ctx, "passphrase of the vault: ") })
	}
	return u, nil
}

// vaultOptions are those with which every command opens a vault. One that is not sealed
// asks for nothing; one that is opened again does not ask again.
func (k *console) vaultOptions(ctx context.Context) (blockstore.Options, error) {
	if k.unlock == nil {
		u, err := k.unlocker(ctx, k.keys)
		if err != nil {
			return blockstore.Options{}, err
		}
		k.unlock = u
	}
	return blockstore.Options{Warn: k.warn, Unlock: k.unlock, Known: k.knownVaults()}, nil
}

// once keeps what get returned: the same passphrase may open several vaults.
func once(get func() (string, error)) func() (string, error) {
	var known string
	return func() (s string, err error) {
		if known == "" {
			known, err = get()
		}
		return known, err
	}
}

// passphraseFile returns the first line of a file.
func (k *console) passphraseFile(name string) (string, error) {
	text, err := k.secretFile(name)
	if err != nil {
		return "", fmt.Errorf("read passphrase: %w", err)
	}
	line, _, _ := strings.Cut(text, "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("passphrase file %s: its first line is empty", name)
	}
	return line, nil
}

// secretFile reads a small file, once this process tells its memory to nobody.
func (k *console) secretFile(name string) (string, error) {
	if err := k.guardMemory(); err != nil {
		return "", err
	}
	text, err := daemon.SecretFile(name)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(name); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o007 != 0 {
		k.say("warning: every user of this host may read %s (%v): chmod 600", name, st.Mode().Perm())
	}
	return text, nil
}

func (k *console) guardMemory() error {
	if k.guard == nil {
		return nil
	}
	if err := k.guard(); err != nil {
		return fmt.Errorf("keep this process's memory from others: %w", err)
	}
	return nil
}

func (k *console) askSecret(ctx context.Context, prompt string) (string, error) {
	if err := k.guardMemory(); err != nil {
		return "", err
	}
	return k.ask(ctx, prompt)
}

// newPassphrase asks for a passphrase that is to be set, twice.
func (k *console) newPassphrase(ctx context.Context) (string, error) {
	if k.ask == nil {
		return "", usagef("there is no terminal to ask for the new passphrase").hinted("name a file that holds it")
	}
	first, err := k.askSecret(ctx, "new passphrase: ")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", errors.New("the passphrase is empty: a vault with that is as good as open")
	}
	second, err := k.askSecret(ctx, "once more: ")
	if err == nil && first != second {
		err = errors.New("the two passphrases differ; nothing was changed")
	}
	return first, err
}

// recipientsIn returns the lines of a file that name age recipients.
func recipientsIn(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, daemon.MaxSecret))
	var list []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("%s names no recipient: %w", name, fs.ErrInvalid)
	}
	return list, err
}
