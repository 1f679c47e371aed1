package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// service measures the daemon: a storm of machines that are due at once, what a backup through it costs,
// and a vault of years.
func (b *bench) service(ctx context.Context) error {
	return errors.Join(b.storm(ctx), b.throughDaemon(ctx), b.yearsInDaemon(ctx))
}

// host is a place of a daemon that owns one vault.
type host struct {
	b    *bench
	v    *vault
	dir  string // its name is short: names of sockets are
	cmd  *exec.Cmd
	peak func() int64
	log  *os.File
}

// newHost makes the place of a daemon of a vault; more is added to its configuration.
func (b *bench) newHost(v *vault, more string) (*host, error) {
	dir, err := os.MkdirTemp("", "hfb")
	if err != nil {
		return nil, err
	}
	h := &host{b: b, v: v, dir: dir}
	text := fmt.Sprintf("state: %s/s\nrun: %s/r\ngroup: ''\nvaults:\n  - path: %s\n    min-free: none\n    at-once: 4\n    sweep: never\n    check: never\n    verify: never\n%s", dir, dir, v.path, more)
	return h, os.WriteFile(h.config(), []byte(text), 0o600)
}

func (h *host) config() string { return filepath.Join(h.dir, "c.yaml") }
func (h *host) socket() string { return filepath.Join(h.dir, "r", "api.sock") }

// command is one that this daemon does.
func (h *host) command(args ...string) command {
	c := h.v.command(args...)
	c.env = append(c.env, "HOLDFAST_RUN="+filepath.Join(h.dir, "r"), "HOLDFAST_STATE="+filepath.Join(h.dir, "s"))
	return c
}

// begin starts the daemon and returns how many seconds it took until it owned its vault and
// answered.
func (h *host) begin(ctx context.Context) (float64, error) {
	var err error
	if h.log, err = os.CreateTemp(h.dir, "log-"); err != nil {
		return 0, err
	}
	h.cmd = h.command("daemon", "--config", h.config()).prepare(ctx)
	h.cmd.Stdout, h.cmd.Stderr = h.log, h.log
	start := time.Now()
	if err := h.cmd.Start(); err != nil {
		return 0, err
	}
	h.peak = watchAnon(h.cmd.Process.Pid)
	for time.Since(start) < time.Minute {
		if told, err := os.ReadFile(filepath.Join(h.dir, "r", "vaults.json")); err == nil && strings.Contains(string(told), h.v.path) && h.answers() {
			return time.Since(start).Seconds(), nil
		}
		if anonOf(h.cmd.Process.Pid) == 0 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	_, err = h.end()
	return 0, errors.Join(errors.New("the daemon did not begin"), err)
}

func (h *host) answers() bool {
	c, err := net.Dial("unix", h.socket())
	if err == nil {
		c.Close()
	}
	return err == nil
}

// end ends the daemon, and returns the peak of its anonymous memory in bytes.
func (h *host) end() (int64, error) {
	h.cmd.Process.Signal(syscall.SIGTERM)
	err := h.cmd.Wait()
	peak := h.peak()
	if err != nil {
		text, _ := os.ReadFile(h.log.Name())
		err = fmt.Errorf("the daemon: %w: %s", err, lastLines(string(text)))
	}
	h.cmd = nil
	return peak, errors.Join(err, h.log.Close())
}

// remove ends a daemon that runs still, and removes all but its vault.
func (h *host) remove() error {
	var err error
	if h.cmd != nil {
		_, err = h.end()
	}
	return errors.Join(err, os.RemoveAll(h.dir))
}

func (h *host) client() (*api.Client, error) {
	return api.NewClient(api.ClientOptions{Socket: h.socket()})
}

// throughDaemon makes first backups of the disk by a daemon and without one, in turn.
func (b *bench) throughDaemon(ctx context.Context) error {
	const group = "daemon: full backup"
	if err := b.showDay(1); err != nil {
		return err
	}
	var by, without cost
	for round := range b.rounds + 1 {
		b.say("full backup by a daemon and without, round %d", round+1)
		var err error
		if without, _, err = b.fullOurs(ctx, without); err != nil {
			return err
		}
		if by, err = b.fullByDaemon(ctx, by); err != nil {
			return err
		}
	}
	b.table.compare(group, "first day, wall", "s", by.Wall, without.Wall, "without", atMost(1.15))
	b.table.memory(group, "the daemon", by.Anon)
	return nil
}

func (b *bench) fullByDaemon(ctx context.Context, before cost) (c cost, err error) {
	v, err := b.newVault(ctx, "vault")
	if err != nil {
		return before, err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	h, err := b.newHost(v, "")
	if err != nil {
		return before, err
	}
	defer func() { err = errors.Join(err, h.remove()) }()
	if _, err := h.begin(ctx); err != nil {
		return before, err
	}
	c, err = b.timed(before, func() (cost, error) {
		return measure(ctx, h.command("backup", machine, "--disk", "vda="+b.image, "--quiet"))
	})
	if err != nil {
		return before, err
	}
	c.Anon, err = h.end()
	c.Anon = max(c.Anon, before.Anon)
	return c, err
}
