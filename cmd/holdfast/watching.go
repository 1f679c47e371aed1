package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// watcher is who knows how all stands.
type watcher struct {
	api.Watching
	vault string // how it knows the vault
}

// statusPatience is how long a call into the file system of a vault may take when all that is
// asked is how it is.
const statusPatience = 15 * time.Second

// watching returns who knows how a vault stands: the daemon that owns it, if that can be asked for
// a status, or else this process. Without a vault, a daemon of this host is asked about all its own.
func (k *console) watching(ctx context.Context, vault, stateDir string, needsVault bool) (*watcher, func(), error) {
	w := k.daemonOf(ctx, vault, daemonPatience)
	switch {
	case vault == "":
		w = k.anyDaemon(ctx)
	case w == nil:
		w = k.daemonNaming(ctx, vault)
	}
	if w != nil {
		if ops, ok := w.Operations.(api.Watching); ok {
			return &watcher{ops, w.vault}, w.close, nil
		}
		w.close()
	}
	if vault == "" && needsVault {
		return nil, nil, usagef("no vault is named").hinted("give --vault PATH, or set HOLDFAST_VAULT")
	}
	open, err := k.vaultOptions(ctx)
	if err != nil {
		return nil, nil, err
	}
	// A vault that hangs is a part of the answer.
	open.Patience, open.Hung = statusPatience, func(error) {}
	table, err := jobs.Open(jobs.Options{Explain: service.Explain})
	if err != nil {
		return nil, nil, err
	}
	s := service.New(service.Options{
		Vaults: &service.OneVault{Path: vault, Options: blockstore.OwnOptions{Options: open}, Say: func(text string) { k.say("%s", text) }},
		Jobs:   table, Tool: toolName(), Host: hostSeed(), StateDir: stateDir,
	})
	return &watcher{s, vault}, func() { table.Close(context.WithoutCancel(ctx)) }, nil
}

// daemonNaming returns the daemon that is to own a vault by its configuration, and could not open it yet: it knows
// why nothing is stored there. Nil: none is. Nothing is said of a daemon that does not answer this user.
func (k *console) daemonNaming(ctx context.Context, vault string) *worker {
	if !k.hasDaemon() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, daemonPatience)
	defer cancel()
	for _, dir := range k.runDirs() {
		socket := filepath.Join(dir, service.SocketName)
		ops, closes, err := k.dial(socket)
		if err != nil {
			continue
		}
		for _, path := range namesOf(vault) {
			if _, err := ops.Jobs(ctx, api.JobQuery{Vault: path, Limit: 1}); err == nil {
				k.reached.Store(true)
				return &worker{Operations: ops, vault: path, daemon: socket, close: closes}
			}
		}
		closes()
	}
	return nil
}

// namesOf are the absolute paths of a folder by which a configuration may name it.
func namesOf(path string) (all []string) {
	if abs, err := filepath.Abs(path); err == nil {
		all = append(all, abs)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		if abs, err := filepath.Abs(real); err == nil && !slices.Contains(all, abs) {
			all = append(all, abs)
		}
	}
	return all
}

// hasDaemon tells whether there is a socket of a daemon on this host.
func (k *console) hasDaemon() bool {
	return !k.withoutDaemon() && slices.ContainsFunc(k.runDirs(), func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, service.SocketName))
		return err == nil
	})
}

// anyDaemon is a daemon of this host, whatever vaults it owns; nil: none answers.
func (k *console) anyDaemon(ctx context.Context) *worker {
	if !k.hasDaemon() {
		return nil
	}
	for _, dir := range k.runDirs() {
		if _, err := os.Stat(filepath.Join(dir, service.SocketName)); err == nil {
			return k.reach(ctx, dir, "")
		}
	}
	return nil
}
