package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func TestWhoAsksIsToldWhoDoesTheWork(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	for _, words := range [][]string{
		{"backup", "web1", "--disk", "vda=" + h.path("vda.img"), "--min-free", "none"}, {"policy", "set", "p", "--machines", "web*", "--schedule", "daily"}, {"sweep", "--dry-run"},
		{"point", "note", "web1@latest", "kept"}, {"prune", "--dry-run"}, {"check"},
	} {
		if o := h.throughCtx(h.ctx, append(words, "--verbose")...); strings.Count(o.err, "note: the daemon that owns the vault does the work") != 1 {
			t.Errorf("%v through a daemon: %s", words, o.err)
		}
		if o := h.run(append(words, "--verbose")...); strings.Count(o.err, "note: no daemon owns the vault: this command does the work itself") != 1 {
			t.Errorf("%v: %s", words, o.err)
		}
		if o := h.throughCtx(h.ctx, words...); strings.Contains(o.err, "does the work") {
			t.Errorf("%v says what no script asked for: %s", words, o.err)
		}
	}
	for words, field := range map[string]string{"sweep --dry-run --json --quiet": "job", "check --json --quiet": "job"} {
		var with, without map[string]any
		if err := json.Unmarshal([]byte(h.through(exitDone, strings.Fields(words)...).out), &with); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(h.must(exitDone, strings.Fields(words)...).out), &without); err != nil {
			t.Fatal(err)
		}
		if with[field] == nil || without[field] != nil {
			t.Errorf("%s: job %v through a daemon, %v without", words, with[field], without[field])
		}
	}
}

// lent is a daemon one of whose vaults somebody has borrowed, until it is asked so often.
type lent struct {
	api.Operations
	left int
}

func (l *lent) inUse() error {
	if l.left--; l.left >= 0 {
		return fmt.Errorf("vault v is lent to anna (pid 7): %w", service.ErrInUse)
	}
	return nil
}

func (l *lent) SetPolicies(ctx context.Context, vault string, r api.PoliciesRequest) ([]api.PolicyChange, error) {
	if err := l.inUse(); err != nil {
		return nil, err
	}
	return l.Operations.SetPolicies(ctx, vault, r)
}

func TestACommandWaitsForALentVaultAndSaysForWhom(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	l := &lent{Operations: h.ops, left: 1000}
	h.ops = l
	h.env["HOLDFAST_RUN"] = t.TempDir()
	h.announce()
	h.serve()
	words := []string{"policy", "set", "p", "--machines", "web*", "--schedule", "daily"}
	if o := h.through(exitBusy, append(words, "--no-wait")...); !strings.Contains(o.err, "lent to anna (pid 7)") || strings.Contains(o.err, "waiting") {
		t.Errorf("--no-wait: %s", o.err)
	}
	l.left = 2
	if o := h.through(exitDone, words...); strings.Count(o.err, "waiting: vault v is lent to anna (pid 7)") != 1 {
		t.Errorf("while it waits it says %s", o.err)
	}
}

func TestABackupThatMayNotWaitForItsTurnSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	words := []string{"backup", "web1", "--disk", "vda=" + h.path("vda.img"), "--min-free", "none"}
	release := h.table.Hold(h.path("vault"), "vault v is lent to anna (pid 7)")
	if o := h.through(exitBusy, append(words, "--no-wait")...); !strings.Contains(o.err, "lent to anna (pid 7)") {
		t.Errorf("--no-wait: %s", o.err)
	}
	if o := h.through(exitBusy, append(words, "--wait", "10ms")...); strings.Count(o.err, "waiting: vault v is lent to anna (pid 7)") != 1 {
		t.Errorf("--wait: %s", o.err)
	}
	release()
	h.through(exitDone, append(words, "--no-wait")...)
}

// On a host whose daemon has one vault nobody has to name it, and where it has several one has to.
func TestTheVaultOfThisHostsDaemonNeedNotBeNamed(t *testing.T) {
	t.Parallel()
	s := served{&host{yard: &yard{shell: newShell(t)}}} // its console knows of daemons
	dir := t.TempDir()
	s.env["HOLDFAST_RUN"] = dir
	var list []service.Announced
	for _, name := range []string{"one", "two"} {
		info, err := blockstore.Create(t.Context(), filepath.Join(t.TempDir(), name), blockstore.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := service.Announcement(info)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	announce := func(list ...service.Announced) {
		t.Helper()
		if err := service.Announce(dir, list); err != nil {
			t.Fatal(err)
		}
	}
	announce(list[0])
	s.does(t, exitUsage, "vault", "info").says(t, "no vault is named") // nobody lives there
	release, err := service.Live(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	s.does(t, exitDone, "vault", "info").says(t, list[0].Path)
	s.does(t, exitDone, "vault", "info", "--vault", list[1].Path).says(t, list[1].Path)
	announce(list...)
	s.does(t, exitUsage, "vault", "info").says(t, list[0].Path+", "+list[1].Path)
	s.env["HOLDFAST_DAEMON"] = "off"
	announce(list[0])
	s.does(t, exitUsage, "vault", "info").says(t, "no vault is named")
	delete(s.env, "HOLDFAST_DAEMON")
	if os.Geteuid() == 0 { // what another user announced is nobody's vault
		if err := os.Chown(filepath.Join(dir, "vaults.json"), 4711, 4711); err != nil {
			t.Fatal(err)
		}
		s.does(t, exitUsage, "vault", "info").says(t, "no vault is named")
	}
}
