package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// run answers on a Unix socket until the test ends, and returns the socket's path.
func (st *site) run(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(path, "no-such-group")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- st.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return path
}

func dial(t testing.TB, socket string) *api.Client {
	t.Helper()
	c, err := api.NewClient(api.ClientOptions{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: only root is trusted without being the daemon's user")
	}
}

func TestTheClientAsksForEachOperationAsItIsMeant(t *testing.T) {
	needRoot(t)
	st := newSite(t, nil)
	c, ctx := dial(t, st.run(t)), t.Context()
	until := exampleTime
	points := api.PointsRequest{Change: api.LockPoint, Points: []api.PointRef{{Machine: "web1", Point: "latest"}}, Until: &until, Note: "über"}
	policies := api.PoliciesRequest{Policies: []api.PolicySpec{examplePolicySpec}, RemoveOthers: true}
	protect := api.ProtectRequest{Name: "web1", Protection: exampleProtection, Scratch: api.Scratch{Folder: "/scratch"}}
	start := api.JobRequest{Kind: api.JobBackup, Vault: "/srv/a vault", Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=/x,format=raw"}, Rate: 7}}
	query := api.JobQuery{Vault: "main", Machine: "web1", Kind: api.JobBackup, State: api.JobWarnings, Since: &until, Limit: 3}
	shown := fakeJob("web1")
	rows := []struct {
		name     string
		call     func() (any, error)
		arg, got any
	}{
		{"Vaults", func() (any, error) { return c.Vaults(ctx) }, nil, []api.VaultInfo{exampleVault}},
		{"Machines", func() (any, error) { return c.Machines(ctx, "main") }, "main", each("", fakeMachine)},
		{"Points", func() (any, error) { return c.Points(ctx, "main", "web2") }, "web2", []api.Point{fakePoint("web2")}},
		{"Policies", func() (any, error) { return c.Policies(ctx, "/srv/vault") }, "/srv/vault", nil},
		{"Trash", func() (any, error) { return c.Trash(ctx, "main") }, "main", nil},
		{"PlanPrune", func() (any, error) {
			return c.PlanPrune(ctx, "main", api.PruneOptions{Machines: []string{"web1", "db1"}, Confirm: true})
		}, api.PruneOptions{Machines: []string{"web1", "db1"}, Confirm: true}, nil},
		{"Start", func() (any, error) { return c.Start(ctx, start) }, start, shown},
		{"Jobs", func() (any, error) { return c.Jobs(ctx, query) }, query, nil},
		{"Job", func() (any, error) { return c.Job(ctx, "j-web1") }, "j-web1", shown},
		{"CancelJob", func() (any, error) { return nil, c.CancelJob(ctx, "j-web1") }, "j-web1", nil},
		{"RetryJob", func() (any, error) { return c.RetryJob(ctx, "j-web1") }, "j-web1", shown},
		{"ChangePoints", func() (any, error) { return c.ChangePoints(ctx, "main", points) }, points, nil},
		{"GiveUpPoint", func() (any, error) { return c.GiveUpPoint(ctx, "main", points.Points[0]) }, points.Points[0], nil},
		{"Protect", func() (any, error) { return c.Protect(ctx, "main", protect) }, protect, exampleProtect},
		{"Unprotect", func() (any, error) { return c.Unprotect(ctx, "main", "web1", api.UnprotectRequest{LeaveBehind: true}) }, "web1", exampleUnprotect},
		{"RenameMachine", func() (any, error) { return c.RenameMachine(ctx, "main", "web1", "web9") }, "web1 web9", nil},
		{"HoldMachine", func() (any, error) { return c.HoldMachine(ctx, "main", "web1", until) }, "web1", exampleHold},
		{"ReleaseMachine", func() (any, error) { return c.ReleaseMachine(ctx, "main", "web1") }, "web1", exampleHold},
		{"HoldMachine", func() (any, error) { return c.HoldMachine(ctx, "main", "", until) }, "", exampleHold},
		{"ReleaseMachine", func() (any, error) { return c.ReleaseMachine(ctx, "main", "") }, "", exampleHold},
		{"Status", func() (any, error) {
			return c.Status(ctx, api.StatusQuery{Vault: "main", Machine: "web1", NoHost: true})
		}, api.StatusQuery{Vault: "main", Machine: "web1", NoHost: true}, nil},
		{"Usage", func() (any, error) {
			return c.Usage(ctx, "main", api.UsageQuery{From: "2026-01", To: "2026-11", Machine: "web1", Exclusive: true})
		}, api.UsageQuery{From: "2026-01", To: "2026-11", Machine: "web1", Exclusive: true}, nil},
		{"Ignore", func() (any, error) { return c.Ignore(ctx, api.IgnoreRequest{Names: []string{"a"}, Remove: true}) }, api.IgnoreRequest{Names: []string{"a"}, Remove: true}, nil},
		{"SetPolicies", func() (any, error) { return c.SetPolicies(ctx, "main", policies) }, policies, nil},
		{"RemovePolicy", func() (any, error) { return nil, c.RemovePolicy(ctx, "main", "über nacht") }, "über nacht", nil},
	}
	tested := map[string]bool{"Follow": true} // has a test of its own
	for _, row := range rows {
		tested[row.name] = true
		st.fake.called()
		got, err := row.call()
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if calls := st.fake.called(); !slices.Equal(calls[len(calls)-1:], []string{row.name}) {
			t.Errorf("%s asked for %v", row.name, calls)
		}
		if !reflect.DeepEqual(st.fake.last, row.arg) {
			t.Errorf("%s was asked as %+v, not as %+v", row.name, st.fake.last, row.arg)
		}
		if row.got != nil && !reflect.DeepEqual(got, row.got) {
			t.Errorf("%s answered\n%+v, not\n%+v", row.name, got, row.got)
		}
		if st.fake.by != (api.Caller{Name: "root", Trusted: true, PID: os.Getpid()}) {
			t.Errorf("%s was done for %+v", row.name, st.fake.by)
		}
	}
	all := reflect.TypeFor[api.Operations]()
	for i := range all.NumMethod() {
		if name := all.Method(i).Name; !tested[name] {
			t.Errorf("the operation %s is not in this table", name)
		}
	}
}

func TestAProblemComesThroughAsItWasWithItsExitCode(t *testing.T) {
	needRoot(t)
	st := newSite(t, func(c *Config) {
		c.Explain = func(err error) *api.Problem {
			if errors.Is(err, io.ErrNoProgress) {
				return &api.Problem{Exit: 7, Kind: "vault-full", Hint: "make room"}
			}
			return nil
		}
	})
	c := dial(t, st.run(t))
	for _, row := range []struct {
		fail error
		want api.Problem
	}{
		{&api.Problem{Exit: 5, Detail: "the vault is busy\nreally", Hint: "wait", Kind: "busy"}, api.Problem{Status: 409, Exit: 5, Detail: "the vault is busy\nreally", Hint: "wait", Kind: "busy", Title: "Conflict"}},
		{fmt.Errorf("backup: %w", &api.Problem{Exit: 4, Status: 599, Title: "Damaged"}), api.Problem{Status: 599, Exit: 4, Detail: "backup: ", Title: "Damaged"}},
		{fmt.Errorf("store: %w", io.ErrNoProgress), api.Problem{Status: 507, Exit: 7, Detail: "store: " + io.ErrNoProgress.Error(), Kind: "vault-full", Hint: "make room", Title: "Insufficient Storage"}},
		{errors.New("odd"), api.Problem{Status: 500, Exit: 1, Detail: "odd", Title: "Internal Server Error"}},
		{&api.Problem{Exit: 8, Detail: "locked until tomorrow"}, api.Problem{Status: 403, Exit: 8, Detail: "locked until tomorrow", Title: "Forbidden"}},
	} {
		st.fake.fails(row.fail)
		_, err := c.Vaults(t.Context())
		var got *api.Problem
		if !errors.As(err, &got) || *got != row.want {
			t.Errorf("%v came through as %+v", row.fail, err)
		}
		if err := c.CancelJob(t.Context(), "j-web1"); !errors.As(err, &got) || got.Exit != row.want.Exit {
			t.Errorf("%v came through as %+v", row.fail, err)
		}
	}
}

func TestADiskIsReadInRangesAndBreaksOffWhereItIsDamaged(t *testing.T) {
	needRoot(t)
	broken := int64(0)
	st := newSite(t, func(c *Config) {
		open := c.OpenDisk
		c.OpenDisk = func(ctx context.Context, v, m, p, d string) (Disk, error) {
			disk, err := open(ctx, v, m, p, d)
			disk.(*fakeDisk).broken = broken
			return disk, err
		}
	})
	c := dial(t, st.run(t))
	for _, at := range [][2]int64{{0, -1}, {0, 1}, {5, 100}, {1<<20 - 3, 1 << 20}, {int64(len(diskBytes)) - 1, 1}} {
		r, err := c.DiskContent(t.Context(), "main", "web1", "latest", "vda", at[0], at[1])
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		want := diskBytes[at[0]:]
		if at[1] >= 0 {
			want = want[:at[1]]
		}
		if err != nil || string(got) != string(want) {
			t.Errorf("%v: %d bytes, %v", at, len(got), err)
		}
	}
	head := st.ask(st.secret(t, "restorer"), "HEAD", base+"/vaults/main/machines/web1/points/latest/disks/vda", "")
	if head.Code != 200 || head.Header().Get("Content-Length") != fmt.Sprint(len(diskBytes)) || head.Body.Len() > 0 {
		t.Errorf("HEAD: %d %v, %d bytes", head.Code, head.Header(), head.Body.Len())
	}
	if n := len(st.entries(t)); n != 2 { // of each of the two readers
		t.Errorf("one reading in ranges left %d lines in the audit log", n)
	}
	if _, err := c.DiskContent(t.Context(), "main", "web1", "latest", "vda", int64(len(diskBytes)), 1); err == nil {
		t.Error("a range beyond the disk's end was served")
	}
	broken = 3 << 20
	r, err := c.DiskContent(t.Context(), "main", "web1", "latest", "vda", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err == nil || len(got) > 3<<20 {
		t.Errorf("a damaged disk came whole: %d bytes, %v", len(got), err)
	}
}

func TestAJobIsFollowedToItsEndAlsoOverABrokenConnection(t *testing.T) {
	needRoot(t)
	st := newSite(t, func(c *Config) { c.Limits.Beat, c.Limits.Farewell = 20*time.Millisecond, time.Millisecond })
	st.fake.events = make(chan api.JobEvent)
	socket := filepath.Join(t.TempDir(), "api.sock")
	serve := func() (stop func()) {
		l, err := ListenUnix(socket, "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		over := make(chan error, 1)
		next, err := New(st.c)
		if err != nil {
			t.Fatal(err)
		}
		go func() { over <- next.Serve(ctx, l) }()
		return func() {
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
		}
	}
	stop := serve()
	c := dial(t, socket)
	var states []string
	seen := make(chan bool)
	over := make(chan error, 1)
	go func() {
		over <- c.Follow(t.Context(), "j-web1", func(e api.JobEvent) error {
			states = append(states, e.Job.State+" "+e.Job.Phase)
			seen <- true
			return nil
		})
	}()
	<-seen
	say := func(state, phase string) {
		j := fakeJob("web1")
		j.State, j.Phase = state, phase
		st.fake.events <- api.JobEvent{Job: j, Log: &api.LogLine{Text: strings.Repeat("a long line ", 20000)}}
		<-seen
	}
	say(api.JobRunning, "hash")
	stop()
	stop = serve()
	defer func() { stop() }()
	<-seen // the connection was made again, and how it stands comes first
	say(api.JobCompleted, "")
	close(st.fake.events)
	if err := <-over; err != nil {
		t.Error(err)
	}
	if want := []string{"running read", "running hash", "running read", "completed "}; !slices.Equal(states, want) {
		t.Errorf("it was told %q, not %q", states, want)
	}
	if err := c.Follow(t.Context(), "j-none", nil); !isExit(err, 6) {
		t.Errorf("following what is not there: %v", err)
	}
}

func TestWhoFollowsAJobThatEndsWithTheServerIsToldSo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	st := newSite(t, func(c *Config) { c.Limits.Farewell = time.Hour }) // none but the job's end ends it
	st.fake.events = make(chan api.JobEvent)
	socket := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- st.Serve(ctx, l) }()
	c := dial(t, socket)
	states, over := make(chan string), make(chan error, 1)
	go func() {
		over <- c.Follow(t.Context(), "j-web1", func(e api.JobEvent) error { states <- e.Job.State; return nil })
	}()
	<-states
	cancel()
	for { // nobody new is let in by now
		again, err := net.Dial("unix", socket)
		if err != nil {
			break
		}
		again.Close()
	}
	j := fakeJob("web1")
	j.State = api.JobInterrupted
	st.fake.events <- api.JobEvent{Job: j}
	if got := <-states; got != api.JobInterrupted {
		t.Errorf("it heard %s", got)
	}
	close(st.fake.events)
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func isExit(err error, exit int) bool {
	var p *api.Problem
	return errors.As(err, &p) && p.Exit == exit
}

func TestAFollowerStopsWhenItsFunctionFailsOrItsContextEnds(t *testing.T) {
	needRoot(t)
	st := newSite(t, nil)
	st.fake.events = make(chan api.JobEvent)
	c := dial(t, st.run(t))
	if err := c.Follow(t.Context(), "j-web1", func(api.JobEvent) error { return io.ErrShortWrite }); err != io.ErrShortWrite {
		t.Errorf("it ended with %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Follow(ctx, "j-web1", func(api.JobEvent) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestALoanLastsUntilItIsGivenBackOrTheClientIsGone(t *testing.T) {
	needRoot(t)
	lent, back := make(chan string, 1), make(chan bool, 1)
	st := newSite(t, func(c *Config) {
		c.Limits.Beat = 10 * time.Millisecond
		c.Lend = func(_ context.Context, vault string) (func(), error) {
			if vault != "main" {
				return nil, &api.Problem{Exit: 5, Detail: "job j-web1 (backup of web1) runs"}
			}
			lent <- vault
			return func() { back <- true }, nil
		}
	})
	c := dial(t, st.run(t))
	if _, err := c.Lend(t.Context(), "busy"); !isExit(err, 5) {
		t.Errorf("lending a busy vault: %v", err)
	}
	release, err := c.Lend(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	<-lent
	select {
	case <-back:
		t.Fatal("it was taken back before it was given back")
	case <-time.After(50 * time.Millisecond): // some signs of life
	}
	release()
	release()
	<-back
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err = c.Lend(ctx, "main"); err != nil {
		t.Fatal(err)
	}
	<-lent
	cancel()
	<-back
	var actions []string
	for len(actions) < 5 { // the last is written when the vault is back
		actions = nil
		for _, e := range st.entries(t) {
			actions = append(actions, e.Action+" "+e.Outcome)
		}
	}
	if want := []string{"lend-vault failed", "lend-vault done", "take-vault-back done", "lend-vault done", "take-vault-back done"}; !slices.Equal(actions, want) {
		t.Errorf("the audit log holds %q", actions)
	}
}
