package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/server"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// host is a yard whose vault a daemon owns.
type host struct {
	*yard
	ops   api.Operations
	table *jobs.Table
	calls int    // of dial
	deaf  bool   // nobody answers
	dials func() // called when the daemon is asked; may be nil
	away  bool   // this user may not open the vault
}

func newHost(t *testing.T) *host {
	t.Helper()
	y := newYard(t)
	h := &host{yard: y}
	y.env["HOLDFAST_RUN"] = t.TempDir()
	table, err := jobs.Open(jobs.Options{Dir: jobsIn(y.env["HOLDFAST_STATE"]), Explain: service.Explain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close(context.Background()) })
	h.ops = service.New(service.Options{
		Vaults: &service.OneVault{Path: y.path("vault"), Options: blockstore.OwnOptions{MinFree: -1}}, Jobs: table, Tool: toolName(), Host: hostSeed(), StateDir: y.env["HOLDFAST_STATE"],
	})
	h.table = table
	h.announce()
	h.serve()
	return h
}

// announce says whose the vault is.
func (h *host) announce() {
	h.t.Helper()
	v, err := blockstore.Open(h.t.Context(), h.path("vault"), blockstore.Options{})
	if err != nil {
		h.t.Fatal(err)
	}
	defer v.Close()
	a, err := service.Announcement(v.Info())
	if err == nil {
		err = service.Announce(h.env["HOLDFAST_RUN"], []service.Announced{a})
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// serve lets the daemon listen until the test ends.
func (h *host) serve() {
	h.t.Helper()
	state := h.env["HOLDFAST_STATE"]
	grants, err := access.Open(filepath.Join(state, "access"), access.Options{UID: os.Geteuid()})
	if err != nil {
		h.t.Fatal(err)
	}
	audit, err := access.OpenLog(filepath.Join(state, "audit"), access.LogOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := server.New(server.Config{Operations: h.ops, Access: grants, Audit: audit, Explain: service.Explain, Log: slog.New(slog.DiscardHandler), OpenDisk: h.openDisk, MapDisk: h.mapDisk})
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := server.ListenUnix(filepath.Join(h.env["HOLDFAST_RUN"], service.SocketName), "")
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.Serve(ctx, l) }()
	h.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-over, audit.Close()); err != nil {
			h.t.Error(err)
		}
	})
}

// openDisk opens a disk for a restorer.
func (h *host) openDisk(ctx context.Context, _, machine, point, disk string) (server.Disk, error) {
	v, err := blockstore.Open(ctx, h.path("vault"), blockstore.Options{})
	if err != nil {
		return nil, err
	}
	p, err := service.FindPoint(ctx, v, api.PointRef{Machine: machine, Point: point})
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	d, err := v.OpenDisk(p, disk)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return closing{d, v}, nil
}

// mapDisk tells a restorer where a disk holds data.
func (h *host) mapDisk(ctx context.Context, vault, machine, point, disk string, offset int64, most int) (api.DiskRanges, error) {
	d, err := h.openDisk(ctx, vault, machine, point, disk)
	if err != nil {
		return api.DiskRanges{}, err
	}
	defer d.Close()
	return service.MapDisk(ctx, d.(closing).Disk, offset, most)
}

// closing is a disk that is closed with its vault.
type closing struct {
	*blockstore.Disk
	vault *blockstore.Vault
}

func (c closing) Close() error { return c.vault.Close() }

// through runs words with the daemon.
func (h *host) through(code int, words ...string) outcome {
	h.t.Helper()
	o := h.throughCtx(h.ctx, words...)
	if o.code != code {
		h.t.Fatalf("holdfast %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(words, " "), o.code, code, o.out, o.err)
	}
	return o
}

func (h *host) throughCtx(ctx context.Context, words ...string) outcome {
	var out, err bytes.Buffer
	k := &console{work: 10, out: &out, err: &err, getenv: func(n string) string { return h.env[n] }, local: time.UTC}
	k.dial = func(socket string) (api.Operations, func(), error) {
		h.calls++
		if h.dials != nil {
			h.dials()
		}
		if h.deaf {
			socket += "-none"
		}
		c, err := api.NewClient(api.ClientOptions{Socket: socket})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
	k.locked = func(string) bool { return h.away }
	code := run(ctx, k, words)
	return outcome{out.String(), err.String(), code}
}

var varies = regexp.MustCompile(`p[0-9a-f]{16}|[0-9-]{10}T[0-9:-]{8}Z|in [0-9.]+m?s( \([0-9.]+ [KMG]?i?B/s\))?|"seconds": [0-9.e-]+|[0-9.]+ [KM]?i?B stored|"(stored|seq)": [0-9]+`)

// space is what others use, too.
var space = regexp.MustCompile(`"free": [0-9]+`)

// beside is what a daemon says besides.
var beside = regexp.MustCompile(`note: .*as its configuration says\n|\n *"job": "j[0-9a-f]{16}",`)

func TestCommandsAreTheSameThroughADaemonAndWithout(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	backup := []string{"backup", "web1", "--quiet", "--min-free", "none", "--disk", "vda=" + h.path("vda.img"), "--disk", "vdb=" + h.path("vdb.img")}
	h.backup("--quiet") // so that both find nothing new
	for _, words := range [][]string{
		backup, append(backup, "--json"), {"backup", "web2"}, {"backup", "wbe1"}, {"backup", "web1", "--disk", "vda=/none"},
		{"check", "--data", "--quiet"}, {"check", "--data", "web1@latest", "--json", "--quiet"}, {"check", "--data", "web1@p0000000000000000", "--quiet"},
		{"prune"}, {"prune", "--dry-run"}, {"prune", "web1", "--json"}, {"prune", "nobody"},
		{"sweep", "--dry-run", "--quiet"}, {"sweep", "--quiet"}, {"sweep", "--json", "--quiet"}, {"trash", "empty", "--now", "--yes"}, {"trash", "empty", "--now", "--json"},
	} {
		without, calls := h.run(words...), h.calls
		with := h.throughCtx(h.ctx, words...)
		if h.calls == calls {
			t.Errorf("%v: no daemon was asked", words)
		}
		plain := func(s string) string { return varies.ReplaceAllString(beside.ReplaceAllString(s, ""), "X") }
		if with.code != without.code || plain(with.out) != plain(without.out) || plain(with.err) != plain(without.err) {
			t.Errorf("%v\nwith a daemon %d: %s%s\nwithout %d: %s%s", words, with.code, with.out, with.err, without.code, without.out, without.err)
		}
	}
	h.must(exitDone, "point", "delete", "web1@"+h.points[0].ID)
	if o := h.through(exitUsage, "trash", "empty", "--now"); !strings.Contains(o.err, "dropping 1 point for good") {
		t.Errorf("it is not asked before: %s", o.err)
	}
	h.through(exitDone, "trash", "empty", "--now", "--yes").says(t, "dropped web1@")
}

func TestWhoMayNotOpenAVaultReadsThroughItsDaemon(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.must(exitDone, "point", "delete", "web1@"+h.points[0].ID)
	h.must(exitDone, "policy", "set", "nightly", "--machines", "web*", "--schedule", "daily at 22:00", "--keep-daily", "7")
	for _, words := range [][]string{
		{"points"}, {"points", "--json"}, {"points", "web1", "--all"}, {"points", "--trash", "--local"}, {"points", "nobody"}, {"machines"}, {"machines", "--json"},
		{"trash", "list"}, {"trash", "list", "web1", "--json"}, {"policy", "list"}, {"policy", "list", "--json"}, {"vault", "info", "--json"},
	} {
		h.away = false
		direct := h.throughCtx(h.ctx, words...)
		calls := h.calls
		h.away = true
		asked := h.throughCtx(h.ctx, words...)
		if h.calls == calls {
			t.Errorf("%v: no daemon was asked", words)
		}
		if direct.code != asked.code || space.ReplaceAllString(direct.out, "") != space.ReplaceAllString(asked.out, "") || direct.err != asked.err {
			t.Errorf("%v\nwith a daemon %d: %s%s\nwithout %d: %s%s", words, asked.code, asked.out, asked.err, direct.code, direct.out, direct.err)
		}
	}
}

func TestADaemonIsAskedOnlyForTheVaultThatItOwns(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	if out, err := exec.Command("cp", "-a", h.path("vault"), h.path("copy")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.through(exitDone, "sweep", "--dry-run", "--quiet")
	if h.calls != 1 {
		t.Errorf("the daemon was asked %d times", h.calls)
	}
	if o := h.throughCtx(h.ctx, "sweep", "--dry-run", "--quiet", "--vault", h.path("copy")); h.calls != 1 {
		t.Errorf("for a copy the daemon was asked: %+v", o)
	}
	h.env["HOLDFAST_DAEMON"] = "off"
	h.through(exitDone, "sweep", "--dry-run", "--quiet")
	if h.calls != 1 {
		t.Error("the daemon was asked although nobody wants it")
	}
	delete(h.env, "HOLDFAST_DAEMON")
	h.deaf = true
	h.through(exitDone, "sweep", "--dry-run", "--quiet").says(t, "does not answer")
}

func TestJobsOfADaemonAreListedShownAndTriedAgain(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.through(exitNotFound, "backup", "web1", "--disk", "vda="+h.path("none"))
	h.through(exitDone, "backup", "web1", "--quiet", "--disk", "vda="+h.path("vda.img"))
	var list []api.Job
	if err := json.Unmarshal([]byte(h.through(exitDone, "jobs", "--json").out), &list); err != nil || len(list) != 2 {
		t.Fatalf("%d jobs are listed, %v", len(list), err)
	}
	failed := list[1]
	if failed.State != api.JobFailed || failed.Error == nil || list[0].State != api.JobCompleted {
		t.Errorf("they are %+v", list)
	}
	h.through(exitDone, "jobs", "web1", "--state", "failed").says(t, "no such file")
	h.through(exitDone, "jobs", "web2").says(t, "no such jobs")
	h.through(exitDone, "job", "show", failed.ID).says(t, "no such file")
	h.through(exitNotFound, "job", "show", "j0000000000000000").says(t, "holdfast jobs")
	h.through(exitDone, "job", "cancel", failed.ID).says(t, "is over: failed")
	h.through(exitUsage, "job", "retry", list[0].ID).says(t, "is completed")
	h.write("none", h.vdb)
	h.through(exitDone, "job", "retry", failed.ID).says(t, "is started again")

	// Without the daemon, what it kept.
	h.must(exitDone, "jobs").says(t, failed.ID)
	h.must(exitDone, "job", "show", failed.ID, "--json").says(t, `"state": "failed"`)
	h.must(exitNotFound, "job", "show", "../../etc/passwd")
	h.must(exitFailed, "job", "retry", failed.ID).says(t, "no daemon answers")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := h.throughCtx(ctx, "jobs", "--follow"); o.code != exitDone {
		t.Errorf("following ends with %+v", o)
	}
}

func TestWhoInterruptsACommandCancelsTheDaemonsJob(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("vda.img", bytes.Repeat([]byte("0123456789abcdef"), 1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		done <- h.throughCtx(ctx, "backup", "web1", "--quiet", "--min-free", "none", "--rate", "1KiB", "--disk", "vda="+h.path("vda.img"))
	}()
	for {
		list, err := h.ops.Jobs(t.Context(), api.JobQuery{State: api.JobRunning})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	if o := <-done; o.code != exitInterrupted || !strings.Contains(o.err, "error: interrupted\nhint: no") {
		t.Errorf("it ended as %+v", o)
	}
	if list, _ := h.ops.Jobs(t.Context(), api.JobQuery{State: api.JobCancelled}); len(list) != 1 {
		t.Errorf("cancelled jobs: %+v", list)
	}
	h.must(exitFailed, "backup", "web1", "--quiet", "--min-free", "none", "--rate", "1KiB", "--max-duration", "1s", "--disk", "vda="+h.path("vda.img")).says(t, "longer than it may")
	h.must(exitUsage, "jobs", "--limit", "0")
	h.must(exitUsage, "jobs", "--follow", "--json")
	h.must(exitUsage, "restore", "web1@latest", "--disk", "vda", "--to", h.path("x"), "--rate", "0")
	h.must(exitUsage, "backup", "web1", "--rate", "0", "--disk", "vda="+h.path("vda.img"))
	h.must(exitUsage, "backup", "web1", "--max-duration", "1ms", "--disk", "vda="+h.path("vda.img"))
}

func TestWhoMayNotAskTheDaemonIsToldWhoMay(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	k := &console{err: &said, dial: func(socket string) (api.Operations, func(), error) {
		return nil, nil, &fs.PathError{Op: "dial", Path: socket, Err: fs.ErrPermission}
	}}
	if w := k.reach(t.Context(), t.TempDir(), ""); w != nil || !strings.Contains(said.String(), "root and members of its group") {
		t.Errorf("%v: %s", w, said.String())
	}
}

// TestACommandThatWaitsForADaemonThatBeginsBecomesItsClient: when it was asked the daemon did not answer yet.
func TestACommandThatWaitsForADaemonThatBeginsBecomesItsClient(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	held, err := blockstore.Own(t.Context(), h.path("vault"), blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	h.dials = func() {
		if h.deaf = h.calls == 1; !h.deaf {
			held.Close() // of which the daemon is the owner, here through the service
		}
	}
	o := h.through(exitDone, "backup", "web1", "--quiet", "--min-free", "none", "--wait", "5m", "--disk", "vda="+h.path("vda.img"))
	o.says(t, "waiting: ")
	o.says(t, "answers now")
	if done, err := h.ops.Jobs(t.Context(), api.JobQuery{}); err != nil || len(done) != 1 {
		t.Errorf("jobs of the daemon: %+v, %v", done, err)
	}
}
