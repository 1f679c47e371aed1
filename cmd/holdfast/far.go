package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs"
)

// pointVault is a vault whose content can be read: opened by this process, or read by its daemon.
type pointVault interface {
	fusefs.Vault
	// Find finds a point.
	Find(ctx context.Context, ref pointRef) (*blockstore.Point, error)
}

// ownVault is a vault that this process opened.
type ownVault struct {
	fusefs.Vault
	v *blockstore.Vault
}

// Find finds a point.
func (o ownVault) Find(ctx context.Context, ref pointRef) (*blockstore.Point, error) {
	return service.FindPoint(ctx, o.v, ref)
}

// purposeOf is what a command is for, as the daemon's audit log tells it: its name and what it is given.
func purposeOf(c *cli.Context) string {
	return strings.Join(append([]string{c.Command.FullName()}, c.Args().Slice()...), " ")
}

// restart is what to do about a daemon that does not answer any more.
const restart = "the vault is read through its daemon: see whether that runs (systemctl status holdfast), and begin again"

// through has do read a vault through the daemon that owns it. When that is gone, or this user may not
// read any more, what do does ends with why.
func (k *console) through(ctx context.Context, w *worker, path, purpose string, do func(ctx context.Context, v *far.Vault) error) error {
	from, ok := w.Operations.(far.Daemon)
	if !ok {
		return usagef("the daemon of vault %s reads nothing for others", path)
	}
	ctx, stop := context.WithCancelCause(api.WithPurpose(ctx, purpose))
	defer stop(nil)
	var mu sync.Mutex
	var lost error
	v := far.New(ctx, from, far.Options{Vault: w.vault, Name: w.name, Path: path, Lost: func(err error) {
		mu.Lock()
		lost = err
		mu.Unlock()
		stop(err)
	}})
	defer v.Close()
	err := do(ctx, v)
	mu.Lock()
	defer mu.Unlock()
	if lost != nil { // also where do made the best of it
		err = lost
	}
	if errors.Is(err, api.ErrUnreachable) {
		err = &hintError{Err: err, Hint: restart}
	}
	return err
}
