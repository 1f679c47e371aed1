package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// worker is who does the work of a command.
type worker struct {
	api.Operations
	vault  string // how it knows the vault
	name   string // of the vault, for people; empty where it is not known
	daemon string // where it listens; "": this process does the work
	wait   *int64 // seconds that a job of a daemon may wait for its turn; nil: as long as it takes
	close  func()
}

// use says which vault a command works with, and how where this process opens it.
type use struct {
	vault    string // path
	own      blockstore.OwnOptions
	stateDir string // "": nothing is remembered
	wait     *int64 // seconds that a daemon's job may wait, if somebody said so
}

// useOf reads what the flags say of a vault that is written to.
func (k *console) useOf(c *cli.Context) (u use, err error) {
	if u.vault, err = k.vaultPath(c); err != nil {
		return u, err
	}
	open, err := k.vaultOptions(c.Context)
	u.own = blockstore.OwnOptions{Options: open, Wait: waitOf(c), Waiting: k.waiting, Still: k.notYet(u.vault)}
	u.wait = jobWait(c)
	return u, err
}

// operations returns who does the work: the daemon that owns the vault or, where none
// does, this process. Whoever called it closes it.
func (k *console) operations(ctx context.Context, u use) (*worker, error) {
	if w := k.daemonOf(ctx, u.vault, u.own.Wait); w != nil || ctx.Err() != nil {
		if w != nil {
			w.wait = u.wait
			k.verbosely("the daemon that owns the vault does the work (%s)", w.daemon)
		}
		return w, ctx.Err()
	}
	k.verbosely("no daemon owns the vault: this command does the work itself")
	if u.own.Hung == nil {
		u.own.Hung = k.hung // of who reads; who writes gets an error
	}
	table, err := jobs.Open(jobs.Options{Explain: service.Explain})
	if err != nil {
		return nil, err
	}
	s := service.New(service.Options{
		Vaults: &service.OneVault{Path: u.vault, Options: u.own, Say: func(text string) { k.say("%s", text) }, Warn: k.warn},
		Jobs:   table, Tool: toolName(), Host: hostSeed(), StateDir: u.stateDir, Guard: guards(),
	})
	return &worker{Operations: s, vault: u.vault, close: func() { table.Close(context.WithoutCancel(ctx)) }}, nil
}

// runDirs are the folders in which daemons say what they own, the one that counts first.
func (k *console) runDirs() []string {
	if dir := k.getenv("HOLDFAST_RUN"); dir != "" {
		return []string{dir}
	}
	var dirs []string
	if _, err := os.Stat("/run/holdfast"); err == nil || os.Geteuid() == 0 {
		dirs = append(dirs, "/run/holdfast")
	}
	if base := k.getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		dirs = append(dirs, filepath.Join(base, "holdfast"))
	}
	return dirs
}

// withoutDaemon tells whether a person wants no daemon to be asked.
func (k *console) withoutDaemon() bool { return k.dial == nil || k.getenv("HOLDFAST_DAEMON") == "off" }

// daemonOf returns the daemon that owns a vault, nil where none does, or where it does not answer. One that
// is beginning or ending, and owns the vault without an answer, is waited for.
func (k *console) daemonOf(ctx context.Context, vault string, wait time.Duration) *worker {
	if k.withoutDaemon() {
		return nil
	}
	for _, dir := range k.runDirs() {
		if a, ok := service.FindAnnounced(dir, vault); ok {
			if wait > 0 {
				k.awaitDaemon(ctx, dir, wait)
			}
			w := k.reach(ctx, dir, string(a.ID))
			if w != nil {
				w.name = a.Name
			}
			return w
		}
	}
	return nil
}

// daemonPatience is how long a daemon may take to answer.
const daemonPatience = 3 * time.Second

// awaitDaemon waits until the daemon of a folder answers or is gone.
func (k *console) awaitDaemon(ctx context.Context, dir string, wait time.Duration) {
	socket := filepath.Join(dir, service.SocketName)
	deadline := time.Now().Add(wait)
	for said := false; ; said = true {
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
			return
		}
		if errors.Is(err, fs.ErrPermission) || !service.Alive(dir) || !time.Now().Before(deadline) {
			return
		}
		if !said {
			k.say("waiting: the daemon that owns the vault is beginning or ending: it does not answer at %s yet", socket)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// notYet tells, while a command waits for a vault, whether a daemon that owns it does not answer still. Once it
// does the command is begun again, as its client.
func (k *console) notYet(vault string) func() bool {
	var last time.Time
	return func() bool {
		if k.reached.Load() || k.withoutDaemon() || time.Since(last) < time.Second {
			return true
		}
		last = time.Now()
		for _, dir := range k.runDirs() {
			if _, ok := service.FindAnnounced(dir, vault); !ok {
				continue
			}
			if c, err := net.Dial("unix", filepath.Join(dir, service.SocketName)); err == nil {
				c.Close()
				k.came.Store(true)
				return false
			}
		}
		return true
	}
}

// reach asks the daemon of a folder whether it answers.
func (k *console) reach(ctx context.Context, dir, vault string) *worker {
	socket := filepath.Join(dir, service.SocketName)
	ops, close, err := k.dial(socket)
	if err == nil {
		asking, cancel := context.WithTimeout(ctx, daemonPatience)
		defer cancel()
		_, err = ops.Jobs(asking, api.JobQuery{Vault: vault, Limit: 1})
		var said *api.Problem
		if errors.As(err, &said) {
			err = nil // it answers, whatever it says
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		k.say("note: the daemon that owns the vault may be asked by root and members of its group (%s): going on without it", groupOf(socket))
		return nil
	}
	if err != nil {
		k.say("note: the daemon that owns the vault does not answer at %s: going on without it (%v)", socket, err)
		return nil
	}
	k.reached.Store(true)
	return &worker{Operations: ops, vault: vault, daemon: socket, close: close}
}

// groupOf names the group of a file, with what makes somebody a member.
func groupOf(file string) string {
	st, err := os.Stat(file)
	if err != nil {
		return "which cannot be told"
	}
	gid := strconv.FormatUint(uint64(st.Sys().(*syscall.Stat_t).Gid), 10)
	g, err := user.LookupGroupId(gid)
	if err != nil || gid == "0" {
		return "none: `group` in its configuration names one"
	}
	return fmt.Sprintf("`usermod -aG %s USER`", g.Name)
}

// reader returns the daemon that owns a vault which this user may not open; nil: there is none, or none is
// needed. What it tells is what this user was granted.
func (k *console) reader(ctx context.Context, vault string) *worker {
	if k.locked == nil || !k.locked(vault) {
		return nil
	}
	return k.daemonOf(ctx, vault, daemonPatience)
}

// lockedAway tells whether this user may not look into a vault.
func lockedAway(vault string) bool {
	_, err := os.ReadDir(filepath.Join(vault, "VAULT"))
	return errors.Is(err, fs.ErrPermission)
}
