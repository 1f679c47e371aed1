package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

func open(t *testing.T, o jobs.Options) *jobs.Table {
	t.Helper()
	o.Explain = func(err error) *api.Problem { return &api.Problem{Detail: err.Error(), Kind: "test", Exit: 1} }
	table, err := jobs.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close(context.Background()) })
	return table
}

type do = func(context.Context, *jobs.Report) (any, error)

func start(t *testing.T, table *jobs.Table, machine string, body do) api.Job {
	t.Helper()
	return startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Vault: "v", Machine: machine}, By: "root", Do: body})
}

func startSpec(t *testing.T, table *jobs.Table, s jobs.Spec) api.Job {
	t.Helper()
	j, err := table.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// end follows a job to its end.
func end(t *testing.T, table *jobs.Table, id string) api.Job {
	t.Helper()
	var last api.Job
	err := table.Follow(t.Context(), id, func(e api.JobEvent) error {
		last = e.Job
		return nil
	})
	if err != nil || !last.Over() {
		t.Fatalf("job %s was followed to %q: %v", id, last.State, err)
	}
	return last
}

func nothing(context.Context, *jobs.Report) (any, error) { return nil, nil }

// held is a body that runs until it is let go, and tells when it began.
func held() (body do, began, release chan struct{}) {
	began, release = make(chan struct{}), make(chan struct{})
	return func(ctx context.Context, r *jobs.Report) (any, error) {
		close(began)
		select {
		case <-release:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}, began, release
}

func TestAJobIsToldFromItsQueueToItsEnd(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", t.TempDir()} {
		var mu sync.Mutex
		var states []string
		table := open(t, jobs.Options{Dir: dir, Changed: func(j api.Job) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, j.State)
		}})
		j := start(t, table, "web1", func(_ context.Context, r *jobs.Report) (any, error) {
			r.Phase("read")
			r.Progress(jobs.Progress{Done: 3, Total: 10, Unit: "bytes", Read: 3, Changed: 2, Stored: 1})
			r.Warn("careful")
			r.Note("by the way")
			r.Log("info", "a line")
			return map[string]int{"points": 1}, nil
		})
		if j.State != api.JobQueued || j.ID == "" || j.By != "root" || j.Attempt != 1 {
			t.Errorf("it was queued as %+v", j)
		}
		last := end(t, table, j.ID)
		full, err := table.Job(j.ID)
		if err != nil {
			t.Fatal(err)
		}
		if last.State != api.JobWarnings || last.Done != 3 || last.Stored != 1 || string(last.Result) != `{"points":1}` || last.Started == nil || last.Ended == nil {
			t.Errorf("it ended as %+v", last)
		}
		if len(full.Log) != 4 || full.Log[3].Text != "a line" || string(full.Result) != `{"points":1}` || !slices.Equal(full.Warnings, []string{"careful"}) {
			t.Errorf("it is kept as %+v", full)
		}
		list := table.Jobs(api.JobQuery{Machine: "web1"})
		if len(list) != 1 || list[0].Result != nil || list[0].Log != nil {
			t.Errorf("it is listed as %+v", list)
		}
		if err := table.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		if !slices.Equal(states, []string{api.JobQueued, api.JobRunning, api.JobWarnings}) {
			t.Errorf("changes %v", states)
		}
		mu.Unlock()
		if again := end(t, table, j.ID); string(again.Result) != `{"points":1}` {
			t.Errorf("who follows it when it is over sees %+v", again)
		}
	}
}

func TestWhatFailsSaysWhyAndAPanicEndsItsJobAlone(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{})
	failed := start(t, table, "a", func(context.Context, *jobs.Report) (any, error) { return "half", errors.New("no disk") })
	if j := end(t, table, failed.ID); j.State != api.JobFailed || j.Error == nil || j.Error.Detail != "no disk" || string(j.Result) != `"half"` {
		t.Errorf("it ended as %+v", j)
	}
	broken := start(t, table, "b", func(context.Context, *jobs.Report) (any, error) { panic("oh") })
	if j := end(t, table, broken.ID); j.State != api.JobFailed || !strings.Contains(j.Error.Detail, "oh") {
		t.Errorf("it ended as %+v", j)
	}
	if j := end(t, table, start(t, table, "c", nothing).ID); j.State != api.JobCompleted {
		t.Errorf("after a panic a job ended as %+v", j)
	}
	if err := table.Follow(t.Context(), "j0000000000000000", nil); !errors.Is(err, jobs.ErrNotFound) {
		t.Errorf("of a job that is not there: %v", err)
	}
}

func TestACancelledJobEndsWithTheCauseWhetherItWaitsOrRuns(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{Running: 1})
	body, began, _ := held()
	running, waiting := start(t, table, "a", body), start(t, table, "b", nothing)
	<-began
	for _, j := range []api.Job{waiting, running} {
		if err := table.Cancel(j.ID, errors.New("the window is over")); err != nil {
			t.Fatal(err)
		}
		if last := end(t, table, j.ID); last.State != api.JobCancelled || last.Error.Detail != "the window is over" {
			t.Errorf("it ended as %+v", last)
		}
	}
	if err := table.Cancel(running.ID, errors.New("again")); err != nil {
		t.Errorf("what is over: %v", err)
	}
	if j, _ := table.Job(running.ID); j.Error.Detail != "the window is over" {
		t.Error("a job that was over was cancelled again")
	}
	long := startSpec(t, table, jobs.Spec{Limit: time.Millisecond, Do: func(ctx context.Context, _ *jobs.Report) (any, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}})
	if last := end(t, table, long.ID); last.State != api.JobCancelled || !strings.Contains(last.Error.Detail, "longer than it may") {
		t.Errorf("what took too long ended as %+v", last)
	}
}

func TestOnlySoManyRunAtOnceAndOneOfWhatMustBeAlone(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int64
	var machines sync.Map
	table := open(t, jobs.Options{Running: 4, Vault: 3})
	count := func(alone, vault string) do {
		return func(context.Context, *jobs.Report) (any, error) {
			if _, twice := machines.LoadOrStore(alone, true); twice {
				t.Errorf("two jobs of %s run at once", alone)
			}
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Millisecond)
			machines.Delete(alone)
			running.Add(-1)
			return nil, nil
		}
	}
	var ids []string
	for i := range 60 {
		alone, vault := fmt.Sprint("machine ", i%10), fmt.Sprint("v", i%2)
		ids = append(ids, startSpec(t, table, jobs.Spec{Request: api.JobRequest{Vault: vault}, Alone: []string{alone}, Do: count(alone, vault)}).ID)
	}
	for _, id := range ids {
		end(t, table, id)
	}
	if most.Load() > 4 {
		t.Errorf("%d ran at once", most.Load())
	}
}

func TestAJobOfLowPriorityWaitsForOthersAndLetsThemGoBefore(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{Running: 1})
	first, began, release := held()
	a := start(t, table, "a", first)
	<-began
	body, began, next := held()
	second := start(t, table, "b", body)
	sweep := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Vault: "v"}, Low: true, Do: nothing})
	if j, _ := table.Job(sweep.ID); j.State != api.JobQueued {
		t.Errorf("while a backup waits a sweep is %s", j.State)
	}
	close(release)
	<-began
	end(t, table, sweep.ID) // beside the second
	close(next)
	end(t, table, a.ID)
	end(t, table, second.ID)

	body, began, release = held()
	gave, asked := make(chan struct{}), make(chan struct{})
	low := startSpec(t, table, jobs.Spec{Low: true, Do: func(ctx context.Context, r *jobs.Report) (any, error) {
		close(asked)
		<-began
		defer close(gave)
		return nil, r.GiveWay(ctx)
	}})
	<-asked
	usual := start(t, table, "c", body)
	select {
	case <-gave:
		t.Error("a sweep went on beside a backup")
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	end(t, table, usual.ID)
	if j := end(t, table, low.ID); j.State != api.JobCompleted {
		t.Errorf("it ended as %+v", j)
	}
}

func TestAJobOfLowPriorityDoesNotWaitForOneThatWaitsForIt(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{})
	begun, go1 := make(chan struct{}), make(chan struct{})
	low := startSpec(t, table, jobs.Spec{Low: true, Alone: []string{"v sweep"}, Do: func(ctx context.Context, r *jobs.Report) (any, error) {
		close(begun)
		<-go1
		return nil, r.GiveWay(ctx) // else it would wait for ten minutes
	}})
	<-begun
	release := table.Hold("lent", "the test")
	defer release()
	waits := startSpec(t, table, jobs.Spec{Alone: []string{"v sweep"}, Do: nothing})
	startSpec(t, table, jobs.Spec{Request: api.JobRequest{Vault: "lent"}, Do: nothing}) // it waits for its vault
	close(go1)
	end(t, table, low.ID)
	end(t, table, waits.ID)
}

func TestNoJobOfAHeldVaultBegins(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{})
	release := table.Hold("v", "vault v is lent to anna")
	waits := start(t, table, "a", nothing)
	other := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Vault: "w"}, Do: nothing})
	end(t, table, other.ID)
	if j, _ := table.Job(waits.ID); j.State != api.JobQueued || j.WaitsFor != "vault v is lent to anna" {
		t.Errorf("it is %s and waits for %q", j.State, j.WaitsFor)
	}
	if list := table.Unfinished("v"); len(list) != 1 || list[0].ID != waits.ID {
		t.Errorf("unfinished are %v", list)
	}
	release()
	release()
	end(t, table, waits.ID)
}

func TestASlowFollowerHoldsNothingUpAndSeesTheEnd(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{})
	go1 := make(chan struct{})
	j := start(t, table, "a", func(_ context.Context, r *jobs.Report) (any, error) {
		<-go1
		for i := range 5000 {
			r.Log("info", fmt.Sprint(i))
			r.Progress(jobs.Progress{Done: int64(i)})
		}
		for range 1000 {
			r.Warn(strings.Repeat("w", 10_000))
		}
		return nil, nil
	})
	blocked, lines, once := make(chan struct{}), 0, sync.Once{}
	followed := make(chan api.Job)
	go func() {
		var last api.Job
		table.Follow(context.Background(), j.ID, func(e api.JobEvent) error {
			once.Do(func() { close(go1) })
			<-blocked
			if e.Log != nil {
				lines++
			}
			last = e.Job
			return nil
		})
		followed <- last
	}()
	if last := end(t, table, j.ID); len(last.Warnings) > 201 || len(last.Warnings[0]) > 5000 {
		t.Errorf("%d warnings are kept, the first of %d bytes", len(last.Warnings), len(last.Warnings[0]))
	}
	close(blocked)
	if last := <-followed; !last.Over() || lines == 0 || lines > 2100 {
		t.Errorf("who was slow saw %s and %d lines", last.State, lines)
	}
}

func TestClosingInterruptsWhatRunsAndWhatWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := open(t, jobs.Options{Dir: dir, Running: 1})
	body, began, _ := held()
	running, waiting := start(t, table, "a", body), start(t, table, "b", nothing)
	<-began
	if err := table.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Start(jobs.Spec{Do: nothing}); !errors.Is(err, jobs.ErrClosed) {
		t.Errorf("a job was started after the end: %v", err)
	}
	again := open(t, jobs.Options{Dir: dir})
	for _, id := range []string{running.ID, waiting.ID} {
		if j, err := again.Job(id); err != nil || j.State != api.JobInterrupted || j.Error == nil {
			t.Errorf("job %s is %+v, %v", id, j, err)
		}
	}
}

func TestATableIsOneProcessesAndOthersMayLook(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "jobs")
	if all, _, err := jobs.Look(dir, api.JobQuery{}); err != nil || len(all) != 0 {
		t.Errorf("where no table is: %v, %v", all, err)
	}
	table := open(t, jobs.Options{Dir: dir})
	body, began, release := held()
	running, over := start(t, table, "a", body), start(t, table, "b", nothing)
	<-began
	end(t, table, over.ID)
	if _, err := jobs.Open(jobs.Options{Dir: dir}); !errors.Is(err, jobs.ErrBusy) {
		t.Errorf("a table was opened twice: %v", err)
	}
	all, doubts, err := jobs.Look(dir, api.JobQuery{})
	if err != nil || len(doubts) > 0 || len(all) != 2 || all[0].ID != over.ID || all[1].State != api.JobRunning {
		t.Errorf("who looks sees %+v, %v, %v", all, doubts, err)
	}
	close(release)
	end(t, table, running.ID)
	if j, err := jobs.LookAt(dir, running.ID); err != nil || j.State != api.JobCompleted {
		t.Errorf("who looks sees %+v, %v", j, err)
	}
	for _, id := range []string{"j0000000000000000", "../" + running.ID, "", "LOCK"} {
		if _, err := jobs.LookAt(dir, id); !errors.Is(err, jobs.ErrNotFound) {
			t.Errorf("job %q: %v", id, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatal(err)
	}
	for _, e := range entries {
		if i, err := e.Info(); err != nil || i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", e.Name(), i.Mode())
		}
	}
}
