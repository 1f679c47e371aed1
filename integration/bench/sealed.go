package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// sealedBackup is the full backup into a sealed vault beside one into a vault
// that is not, in turn. The sealed one is opened by an identity: a passphrase costs a
// second more, made to, whatever the size of the backup.
func (b *bench) sealedBackup(ctx context.Context) error {
	if err := b.showDay(1); err != nil {
		return err
	}
	var sealed, open cost
	for round := range max(b.rounds, 3) {
		b.say("full backup into a sealed vault and into an open one, round %d", round+1)
		for _, turn := range []int{round % 2, 1 - round%2} {
			v, env, err := b.sealedVault(ctx, turn == 0)
			if err != nil {
				return err
			}
			to := &open
			if turn == 0 {
				to = &sealed
			}
			if *to, err = b.timed(*to, func() (cost, error) { return v.backup(ctx, env...) }); err != nil {
				return err
			}
			if err := v.remove(); err != nil {
				return err
			}
		}
	}
	b.table.costs("sealed vault", "first day", sealed, open, "not sealed", atMost(1.10), noTarget)
	b.table.memory("sealed vault", "first day", sealed.Anon)
	return nil
}

// sealedVault makes an empty vault, and returns what its backups need in their
// environment.
func (b *bench) sealedVault(ctx context.Context, sealed bool) (*vault, []string, error) {
	if !sealed {
		v, err := b.newVault(ctx, "vault")
		return v, nil, err
	}
	v := &vault{b, filepath.Join(b.store, "sealed")}
	pass, sheet := v.path+".pass", v.path+".sheet"
	defer os.Remove(pass)
	defer os.Remove(sheet)
	if err := os.WriteFile(pass, []byte("a passphrase for the benchmark\n"), 0o600); err != nil {
		return nil, nil, err
	}
	if _, err := v.run(ctx, "vault", "create", v.path, "--sealed", "--passphrase-file", pass, "--sheet", sheet); err != nil {
		return nil, nil, err
	}
	key, err := recoveryKey(sheet)
	if err != nil {
		return nil, nil, err
	}
	identity := filepath.Join(v.path, "lost+found") // goes with the vault, which passes over that name
	if err := os.WriteFile(identity, key, 0o600); err != nil {
		return nil, nil, err
	}
	return v, []string{"HOLDFAST_IDENTITY=" + identity}, nil
}

var identityLine = regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Z]+`)

// recoveryKey takes the key off a recovery sheet.
func recoveryKey(sheet string) ([]byte, error) {
	text, err := os.ReadFile(sheet)
	if err != nil {
		return nil, err
	}
	key := identityLine.Find(text)
	if key == nil {
		return nil, fmt.Errorf("%s holds no key", sheet)
	}
	return append(key, '\n'), nil
}
