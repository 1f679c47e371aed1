package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/server"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// served is a host whose daemon answers on a real socket.
type served struct{ *host }

func newServed(t *testing.T) served {
	t.Helper()
	h := newHost(t)
	state := t.TempDir()
	store, err := access.Open(state, access.Options{UID: os.Getuid()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := access.OpenLog(filepath.Join(state, "audit"), access.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{Operations: h.ops, Access: store, Audit: log, Explain: service.Explain})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(h.env["HOLDFAST_RUN"], service.SocketName)
	os.Remove(socket) // the stand-in of newHost
	l, err := server.ListenUnix(socket, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
		log.Close()
	})
	return served{h}
}

// does runs words with the daemon.
func (s served) does(t *testing.T, code int, words ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	k := &console{work: 10, out: &out, err: &err, getenv: func(n string) string { return s.env[n] }, local: time.UTC, dial: dialDaemon}
	if got := run(s.ctx, k, words); got != code {
		t.Fatalf("holdfast %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(words, " "), got, code, out.String(), err.String())
	}
	return outcome{out.String(), err.String(), code}
}

func TestRolesAreGivenListedAndTaken(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.does(t, exitDone, "grant", "anna", "restore", "--machines", "web*,db1").says(t, "anna is restorer for web*, db1")
	s.does(t, exitDone, "grant", "no-such-user", "viewer").says(t, "there is no user no-such-user")
	s.does(t, exitDone, "revoke", "no-such-user")
	if o := s.does(t, exitDone, "grant", "root", "viewer"); o.err != "" {
		t.Errorf("of a user that is there: %s", o.err)
	}
	s.does(t, exitDone, "revoke", "root")
	s.does(t, exitDone, "grant", "group:ops", "operator").says(t, "group:ops is operator for all machines")
	s.does(t, exitDone, "grants").says(t, "anna")
	var list []api.Grant
	if err := json.Unmarshal([]byte(s.does(t, exitDone, "grants", "--json").out), &list); err != nil || len(list) != 4 || !list[0].Fixed {
		t.Errorf("%v %+v", err, list)
	}
	s.does(t, exitNotFound, "revoke", "anna", "admin").says(t, "not found")
	s.does(t, exitDone, "revoke", "anna").says(t, "anna is no longer restorer for web*, db1")
	s.does(t, exitUsage, "grant", "anna", "god").says(t, "viewer, restorer, operator, admin")
	s.does(t, exitUsage, "grant", "anna", "viewer", "--machines", "[a").says(t, "no glob")
	s.does(t, exitUsage, "grant", "anna").says(t, "ROLE is missing")
}

func TestATokenIsMadeListedAndEnded(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	o := s.does(t, exitDone, "token", "create", "grafana", "--role", "viewer", "--expires", "90d")
	if secret := strings.TrimSpace(o.out); !strings.HasPrefix(secret, "hf_") || strings.Contains(secret, "\n") || !strings.Contains(o.err, "this once") {
		t.Errorf("%q %q", o.out, o.err)
	}
	var t2 api.NewToken
	if err := json.Unmarshal([]byte(s.does(t, exitDone, "token", "create", "two", "--role", "admin", "--json").out), &t2); err != nil || t2.Secret == "" || t2.Expires != nil {
		t.Errorf("%v %+v", err, t2)
	}
	list := s.does(t, exitDone, "token", "list")
	list.says(t, "viewer for all machines")
	if strings.Contains(list.out, t2.Secret) || !strings.Contains(list.out, "two") {
		t.Errorf("%s", list.out)
	}
	s.does(t, exitFailed, "token", "create", "two", "--role", "admin").says(t, "is there already")
	s.does(t, exitDone, "token", "revoke", "two").says(t, "is revoked")
	s.does(t, exitNotFound, "token", "revoke", "two")
	s.does(t, exitUsage, "token", "create", "three")
	s.does(t, exitUsage, "token", "create", "three", "--role", "viewer", "--expires", "soon").says(t, "--expires")
}

func TestTheAuditLogShowsWhatWasAskedOfTheDaemon(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.does(t, exitDone, "grant", "anna", "viewer")
	s.does(t, exitDone, "sweep", "--quiet")
	s.does(t, exitUsage, "grant", "anna", "god")
	var list []api.AuditEntry
	if err := json.Unmarshal([]byte(s.does(t, exitDone, "audit", "--since", "1h", "--json").out), &list); err != nil || len(list) != 3 {
		t.Fatalf("%v %+v", err, list)
	}
	if list[0].Action != "grant" || list[0].Object != "anna viewer" || list[1].Action != "start-job" || list[1].Outcome != "done" || list[2].Outcome != "failed" {
		t.Errorf("%+v", list)
	}
	s.does(t, exitDone, "audit").says(t, "start-job")
	if o := s.does(t, exitDone, "audit", "--limit", "1"); strings.Contains(o.out, "start-job") {
		t.Errorf("more than one: %s", o.out)
	}
	s.does(t, exitUsage, "audit", "--since", "soon").says(t, "--since")
	s.does(t, exitUsage, "audit", "--limit", "0")
}

func TestWithoutADaemonThereAreNoGrants(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.env["HOLDFAST_RUN"] = t.TempDir()
	for _, words := range [][]string{{"grants"}, {"grant", "anna", "viewer"}, {"revoke", "anna"}, {"token", "list"}, {"audit"}} {
		y.must(exitFailed, words...).says(t, "daemon")
	}
}

func TestCommandsAreTheSameOverTheSocketOfADaemon(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.backup("--quiet") // so that both find nothing new
	backup := []string{"backup", "web1", "--quiet", "--min-free", "none", "--disk", "vda=" + s.path("vda.img"), "--disk", "vdb=" + s.path("vdb.img")}
	for _, words := range [][]string{
		backup, append(backup, "--json"), {"backup", "web2"}, {"backup", "web1", "--disk", "vda=/none"},
		{"check", "--data", "--quiet"}, {"check", "--data", "web1@latest", "--json", "--quiet"},
		{"prune"}, {"prune", "nobody"}, {"sweep", "--dry-run", "--quiet"}, {"sweep", "--json", "--quiet"}, {"trash", "empty", "--now", "--yes"},
	} {
		without := s.run(words...)
		with := s.does(t, without.code, words...)
		plain := func(s string) string { return varies.ReplaceAllString(beside.ReplaceAllString(s, ""), "X") }
		if plain(with.out) != plain(without.out) || plain(with.err) != plain(without.err) {
			t.Errorf("%v\nwith a daemon: %s%s\nwithout: %s%s", words, with.out, with.err, without.out, without.err)
		}
	}
	var list []api.AuditEntry
	if err := json.Unmarshal([]byte(s.does(t, exitDone, "audit", "--json").out), &list); err != nil || len(list) < 8 {
		t.Errorf("they did not go through the daemon: %v %+v", err, list)
	}
}
