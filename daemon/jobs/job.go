package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// job is one row of the table.
type job struct {
	t       *Table
	spec    Spec
	request api.JobRequest
	slim    bool                    // it is over, and the rest of it is in its files
	cancel  context.CancelCauseFunc // nil: it does not run; guarded by Table.mu
	over    bool                    // or about to be; guarded by Table.mu

	returned  bool        // its body has; guarded by Table.mu
	impatient *time.Timer // until it begins; nil: it may wait for long; guarded by Table.mu

	giving sync.Mutex // held by who gives way
	saving sync.Mutex // one writes its files at a time
	final  bool       // its files say how it ended, or unkept does; guarded by saving
	unkept *record    // what its files ought to say of its end, and could not be written; guarded by saving
	saved  int        // version that its file has; guarded by saving

	mu      sync.Mutex
	head    api.Job // without log; its id, kind, vault, machine and times of asking do not change
	log     []api.LogLine
	dropped int           // lines of the log before the first one that is there
	version int           // of head, so that followers see a change
	changed chan struct{} // closed at changes that followers are told of at once
	sampled time.Time     // when head.Rate was last computed
	before  int64         // head.Read by then
	began   time.Time     // as its table's clock says; time that passed is told from it, also when that is set
	paused  time.Duration // while others went before
}

// run calls the body and ends the job.
func (j *job) run(ctx context.Context) {
	if limit := j.spec.Limit; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it %w: %v", ErrTooLong, limit))
		defer cancel()
	}
	j.update(func() {
		j.began = j.t.o.Clock()
		at := api.At(j.began)
		j.head.State, j.head.WaitsFor, j.head.Started, j.sampled = api.JobRunning, "", &at, j.began
	})
	j.keep(nil)
	j.t.o.Changed(j.now())
	result, err := j.body(ctx)
	j.t.makeRoom(j)
	var raw json.RawMessage
	if result != nil {
		var e error
		if raw, e = json.Marshal(result); e != nil {
			raw, err = nil, errors.Join(err, fmt.Errorf("write the result: %w", e))
		}
	}
	switch {
	case err == nil:
		state := api.JobCompleted
		if j.warned() {
			state = api.JobWarnings
		}
		j.end(state, raw, nil)
	case ctx.Err() == nil:
		j.end(api.JobFailed, raw, j.t.o.Explain(err))
	case errors.Is(context.Cause(ctx), ErrInterrupted):
		j.end(api.JobInterrupted, raw, j.t.o.Explain(err))
	default:
		j.end(api.JobCancelled, raw, j.t.o.Explain(err))
	}
}

// body calls the body; a panic of it ends this job alone.
func (j *job) body(ctx context.Context) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, fmt.Errorf("internal error, please report it: %v\n%s", p, debug.Stack())
		}
	}()
	return j.spec.Do(ctx, &Report{j})
}

// end makes the job's state final: in its files, then for its followers.
func (j *job) end(state string, result json.RawMessage, problem *api.Problem) {
	now := j.t.o.Clock()
	final := func(h *api.Job) {
		at := api.At(now)
		h.State, h.Phase, h.WaitsFor, h.Ended, h.Result, h.Error = state, "", "", &at, result, problem
		if s := h.Started; s != nil && now.After(s.Time) {
			h.Rate = int64(float64(h.Read) / max(now.Sub(s.Time).Seconds(), 0.001))
		}
	}
	j.keep(final)
	j.update(func() { final(&j.head) })
	j.t.o.Changed(j.now())
	j.t.ended(j)
}

// keepIfNew is keep where there is something new.
func (j *job) keepIfNew() {
	j.saving.Lock()
	j.mu.Lock()
	news := j.version != j.saved
	j.mu.Unlock()
	j.saving.Unlock()
	if news {
		j.keep(nil)
	}
}

// update changes the job and tells its followers.
func (j *job) update(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
	j.version++
	if j.changed != nil {
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// now is how the job stands, without its log.
func (j *job) now() api.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.copy()
}

// copy is now; j.mu is held.
func (j *job) copy() api.Job {
	if j.head.State == api.JobRunning {
		j.sample(j.t.o.Clock())
	}
	c := j.head
	c.Warnings, c.Notes = slices.Clone(c.Warnings), slices.Clone(c.Notes)
	return c
}

// sample computes the rate of late; j.mu is held.
func (j *job) sample(now time.Time) {
	const window = 2 * time.Second
	if took := now.Sub(j.sampled); took >= window {
		j.head.Rate = int64(float64(j.head.Read-j.before) / took.Seconds())
		j.sampled, j.before = now, j.head.Read
	}
}

func (j *job) warned() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.head.Warnings) > 0
}

// save writes the job's files, as if final, which may be nil, had been called.
func (j *job) save(final func(*api.Job)) error {
	if j.t.store == nil {
		return nil
	}
	j.saving.Lock()
	defer j.saving.Unlock()
	if j.final {
		return nil
	}
	j.mu.Lock()
	r := &record{Job: j.copy(), Request: j.request}
	j.saved = j.version
	r.Job.WaitsFor = ""
	if final != nil {
		final(&r.Job)
		j.final = true
	}
	r.Job.Log = slices.Clone(j.log)
	j.mu.Unlock()
	err := j.t.store.save(r)
	j.t.tried(err)
	if err != nil && final != nil {
		j.unkept = r
	}
	return err
}

// keepEnd tells whether the job's files say how it ended, which it tries again where they do not.
func (j *job) keepEnd() bool {
	j.saving.Lock()
	defer j.saving.Unlock()
	if j.unkept != nil && j.t.store.save(j.unkept) == nil {
		j.unkept = nil
	}
	return j.unkept == nil
}

// keep is save where nobody can do anything about its failure.
func (j *job) keep(final func(*api.Job)) {
	if err := j.save(final); err != nil {
		j.t.o.Warn(fmt.Sprintf("job %s is not kept as it is: %v", j.head.ID, err))
	}
}
