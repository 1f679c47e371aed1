package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// showing says how a job is shown while it runs.
type showing struct {
	what  string // it is, beside how far it has come; "": that is not shown
	bytes bool   // are counted, else things
	quiet bool
}

// cancelPatience is how long a daemon may take to be told that a job is to end.
const cancelPatience = 10 * time.Second

// runJob has a job done, shows how it comes along and what it warns of, and returns its result. Interrupted, it
// has the job cancelled and waits for that. An error of the job is a *api.Problem, and may come with
// a result.
func runJob[T any](ctx context.Context, k *console, w *worker, how showing, q api.JobRequest) (result T, err error) {
	q.Vault, q.MaxWait = w.vault, w.wait
	j, err := w.Start(context.WithoutCancel(ctx), q) // else nobody knew the id of what began
	if err != nil {
		return result, err
	}
	last, err := k.follow(ctx, w, how, j.ID)
	if err != nil {
		return result, fmt.Errorf("follow job %s, which may go on: %w", j.ID, err)
	}
	if len(last.Result) > 0 {
		if err := json.Unmarshal(last.Result, &result); err != nil {
			return result, fmt.Errorf("result of job %s: %w", j.ID, err)
		}
	}
	if by, ok := any(&result).(interface{ DoneBy(job string) }); ok && w.daemon != "" {
		by.DoneBy(j.ID)
	} else if by, ok := any(result).(interface{ DoneBy(job string) }); ok && w.daemon != "" {
		by.DoneBy(j.ID)
	}
	switch p := last.Error; {
	case p == nil && last.State != api.JobCompleted && last.State != api.JobWarnings:
		return result, &api.Problem{Detail: fmt.Sprintf("job %s ended as %s", j.ID, last.State), Exit: exitFailed}
	case p == nil:
		return result, nil
	case ctx.Err() != nil && last.State == api.JobCancelled:
		return result, &interruptedError{p.Hint}
	}
	return result, last.Error
}

// follow shows a job until it is over.
func (k *console) follow(ctx context.Context, w *worker, how showing, id string) (last api.Job, err error) {
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	defer wait.Wait()
	defer stop()
	wait.Go(func() {
		select {
		case <-lasting.Done():
			return
		case <-ctx.Done():
		}
		asking, cancel := context.WithTimeout(lasting, cancelPatience)
		defer cancel()
		if err := w.CancelJob(asking, id); err != nil && lasting.Err() == nil {
			k.say("note: job %s could not be cancelled and may go on: %v", id, err)
			stop()
		}
	})
	s := jobShower{k: k, how: how}
	defer s.end()
	err = w.Follow(lasting, id, func(e api.JobEvent) error {
		last = e.Job
		s.show(last)
		return nil
	})
	return last, err
}

// jobShower shows what is new of a job.
type jobShower struct {
	k               *console
	how             showing
	meter           *meter // nil: nothing has begun yet
	notes, warnings int    // that were said
	waits           string // for what it was said to wait
}

func (s *jobShower) show(j api.Job) {
	if j.WaitsFor != "" && s.waits == "" {
		s.waits = j.WaitsFor
		s.k.say("waiting: %s", j.WaitsFor)
	}
	if s.meter == nil && s.how.what != "" && !s.how.quiet && j.State == api.JobRunning && (j.Phase != "" || j.Total > 0) {
		s.meter = s.k.begin(s.how.what, s.how.bytes)
	}
	if s.meter != nil {
		if !j.Over() {
			s.k.phase(s.how.what, j.Phase)
		}
		s.meter.set(j.Done, j.Total)
	}
	if j.Over() {
		s.end()
	}
	for ; s.notes < len(j.Notes); s.notes++ {
		s.k.say("note: %s", j.Notes[s.notes])
	}
	for ; s.warnings < len(j.Warnings); s.warnings++ {
		s.k.warn(j.Warnings[s.warnings])
	}
}

func (s *jobShower) end() {
	if s.meter != nil {
		s.meter.close()
		s.meter = nil
		s.how.what = ""
	}
}
