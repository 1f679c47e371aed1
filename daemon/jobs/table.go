package jobs

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Errors of a table.
var (
	ErrNotFound = errors.New("there is no such job")
	ErrClosed   = errors.New("no jobs are started any more")

	// ErrInterrupted is the cause of the end of jobs by [Table.Close].
	ErrInterrupted = errors.New("the daemon ended before the job did")
	// ErrTooLong is wrapped by the cause of the end of a job that reached its limit of time.
	ErrTooLong = errors.New("took longer than it may")
)

// WaitError is the cause of the end of a job whose turn did not come within the time that it may wait.
type WaitError struct{ For string }

func (e *WaitError) Error() string { return "it would have to wait: " + e.For }

// Unwrap makes it a kind of being busy.
func (e *WaitError) Unwrap() error { return syscall.EBUSY }

// Options of Open. The zero value works: a table in memory.
type Options struct {
	Dir string // where jobs are kept; "": in memory

	Running int // jobs that run at once, those of low priority apart; 0: 2
	Vault   int // of these, in one vault; 0: no limit
	Low     int // jobs of low priority that run at once; 0: 1

	// Age is how long a job that is over is kept; 0: 90 days. More than 30 days without a job count as nothing: the
	// clock may have jumped.
	Age   time.Duration
	Count int // how many are kept; 0: 10,000

	// Explain makes a problem of the error of a body; nil: its words alone.
	Explain func(error) *api.Problem
	// Progress is how often it is written down how far jobs have come that run; 0: 15 s.
	Progress time.Duration
	// Changed is told of a job that was queued, began or ended; nil: nobody. It is called by many
	// goroutines, for one job in order, and the job waits for it.
	Changed func(api.Job)
	// Warn is told of files that cannot be read or written; nil: nobody.
	Warn  func(string)
	Clock func() time.Time // nil: time.Now
}

// Spec is a job to start.
type Spec struct {
	Request api.JobRequest
	Machine string // what the job says that its machine is called; "": as the request names it
	By      string // who asks
	Policy  string
	Due     time.Time // when a schedule wanted it; zero: none did
	Attempt int       // 0: the first
	RetryOf string

	Low      bool          // waits for others and lets them go before
	Priority int           // of those that wait, the higher one begins first
	Alone    []string      // only one job at a time runs of those that have one of these in common
	Limit    time.Duration // it is cancelled after so long; 0: never
	Over     func()        // called once when the job is over, also if it never began; nil: nothing is
	// Patience is how long it may wait for its turn, after which it is cancelled with a [*WaitError]; 0: without
	// end; negative: not at all.
	Patience time.Duration

	// Do is the body. It returns soon after ctx ends. Result is what it returns, also beside an
	// error, unless that is nil.
	Do func(ctx context.Context, r *Report) (result any, err error)
}

// Table is a table of jobs. Its methods are safe for concurrent use.
type Table struct {
	o     Options
	store *store // nil: in memory
	root  context.Context
	stop  context.CancelCauseFunc
	wait  sync.WaitGroup // of bodies

	noting sync.WaitGroup // for noteProgress

	trouble atomic.Pointer[error] // why files could not be written when that was last tried; nil: they could

	mu      sync.Mutex
	closed  bool
	jobs    map[string]*job
	inVault func(string) int     // instead of o.Vault; nil: that counts
	queue   []*job               // of higher priority first, then in the order in which they were asked for
	running []*job               //
	held    map[string][]*string // vaults of which no job begins, with each reason
	moved   chan struct{}        // closed whenever queue or running changed
	last    int64                // of ids, so that they ascend
	unkept  []*job               // that are over, and whose files may not say so yet
	writes  int                  // since the history was last cut
	doubted time.Time            // since when time may not have passed, as was said; zero: nothing was
}

// Open opens a table. What ran when its process ended is interrupted. A folder that another process
// uses as its table is an error.
func Open(o Options) (*Table, error) {
	if o.Running <= 0 {
		o.Running = 2
	}
	if o.Low <= 0 {
		o.Low = 1
	}
	if o.Age <= 0 {
		o.Age = 90 * 24 * time.Hour
	}
	if o.Count <= 0 {
		o.Count = 10_000
	}
	if o.Progress <= 0 {
		o.Progress = 15 * time.Second
	}
	if o.Explain == nil {
		o.Explain = func(err error) *api.Problem { return &api.Problem{Detail: err.Error(), Exit: 1} }
	}
	if o.Changed == nil {
		o.Changed = func(api.Job) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	t := &Table{o: o, jobs: map[string]*job{}, held: map[string][]*string{}, moved: make(chan struct{})}
	t.root, t.stop = context.WithCancelCause(context.Background())
	if o.Dir == "" {
		return t, nil
	}
	var err error
	if t.store, err = openStore(o.Dir); err != nil {
		return nil, fmt.Errorf("open the table of jobs: %w", err)
	}
	if err := t.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the table of jobs: %w", err), t.store.close())
	}
	t.noting.Go(t.noteProgress) // until Close
	return t, nil
}

// load reads what was kept, and ends what its process could not.
func (t *Table) load() error {
	records, doubts, err := t.store.all()
	if err != nil {
		return err
	}
	for _, d := range doubts {
		t.o.Warn(d)
	}
	now := t.o.Clock()
	for _, r := range records {
		if !r.Job.Over() {
			r.interrupt(now)
			if err := t.store.save(r); err != nil {
				return err
			}
		}
		t.jobs[r.Job.ID] = &job{t: t, head: r.Job, request: r.Request, slim: true, over: true}
	}
	t.cut(now)
	return nil
}

// interrupt makes of a record that of a job whose process ended.
func (r *record) interrupt(now time.Time) {
	at := api.At(now)
	r.Job.State, r.Job.Phase, r.Job.Ended = api.JobInterrupted, "", &at
	r.Job.Error = &api.Problem{Status: 503, Title: "Interrupted", Kind: "interrupted", Exit: 130, Detail: ErrInterrupted.Error(),
		Hint: "`holdfast job retry " + r.Job.ID + "` starts it again"}
	if r.Request.TakesHanded() {
		r.Job.Error.Hint = "its images were open files of " + r.Job.By + ": `holdfast backup` starts it again"
	}
}

// Start queues a job and returns it. It is kept when Start returns.
func (t *Table) Start(s Spec) (api.Job, error) {
	now := t.o.Clock()
	j := &job{t: t, spec: s, request: s.Request, changed: make(chan struct{})}
	j.head = api.Job{Kind: s.Request.Kind, Vault: s.Request.Vault, Machine: cmp.Or(s.Machine, s.Request.Machine), State: api.JobQueued, Queued: api.At(now), By: s.By,
		Policy: s.Policy, Attempt: max(s.Attempt, 1), RetryOf: s.RetryOf, Warnings: []string{}, Notes: []string{}}
	if !s.Due.IsZero() {
		due := api.At(s.Due)
		j.head.Due = &due
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return api.Job{}, ErrClosed
	}
	j.head.ID = t.newID(now)
	t.jobs[j.head.ID] = j
	t.mu.Unlock()
	if err := j.save(nil); err != nil {
		t.mu.Lock()
		delete(t.jobs, j.head.ID)
		t.mu.Unlock()
		return api.Job{}, fmt.Errorf("keep the job: %w", err)
	}
	queued := j.now()
	t.o.Changed(queued)
	t.mu.Lock()
	switch {
	case j.over: // it was cancelled meanwhile
	case t.closed:
		j.over = true
		defer j.end(api.JobInterrupted, nil, t.o.Explain(ErrInterrupted))
	default:
		i := slices.IndexFunc(t.queue, func(q *job) bool { return q.spec.Priority < s.Priority })
		if i < 0 {
			i = len(t.queue)
		}
		t.queue = slices.Insert(t.queue, i, j)
		t.dispatch()
		t.beImpatient(j)
	}
	t.mu.Unlock()
	return queued, nil
}

// beImpatient sees to it that a job that may not wait for long does not; t.mu is held.
func (t *Table) beImpatient(j *job) {
	patience := j.spec.Patience
	if patience == 0 || !slices.Contains(t.queue, j) {
		return
	}
	// A timer that fires when the table is closed finds the job over.
	j.impatient = time.AfterFunc(max(patience, 0), func() { t.giveUp(j) })
}

// giveUp cancels a job whose turn did not come.
func (t *Table) giveUp(j *job) {
	t.mu.Lock()
	if j.over || !slices.Contains(t.queue, j) {
		t.mu.Unlock()
		return
	}
	t.queue = slices.DeleteFunc(t.queue, func(q *job) bool { return q == j })
	j.over = true
	t.wait.Add(1) // under t.mu, and Close, which waits, empties the queue before
	t.mu.Unlock()
	defer t.wait.Done()
	j.end(api.JobCancelled, nil, t.o.Explain(&WaitError{j.now().WaitsFor}))
}

// newID returns an id that sorts after those before it; t.mu is held.
func (t *Table) newID(now time.Time) string {
	t.last = max(t.last+1, now.UnixMilli())
	var b [8]byte
	rand.Read(b[:])
	id := uint64(t.last)<<20 | uint64(b[0])<<12 | uint64(b[1])<<4 | uint64(b[2])>>4
	for i := range b {
		b[i] = byte(id >> (56 - 8*i))
	}
	return "j" + hex.EncodeToString(b[:])
}

// Cancel asks a job to end; why is the cause of the end of its context. One that is over stays as it is.
func (t *Table) Cancel(id string, why error) error {
	t.mu.Lock()
	j := t.jobs[id]
	if j == nil {
		t.mu.Unlock()
		return fmt.Errorf("job %.40s: %w", id, ErrNotFound)
	}
	waits := j.cancel == nil && !j.over
	if waits {
		t.queue = slices.DeleteFunc(t.queue, func(q *job) bool { return q == j })
		j.over = true
	}
	cancel := j.cancel
	t.mu.Unlock()
	if waits {
		j.end(api.JobCancelled, nil, t.o.Explain(why))
	} else if cancel != nil {
		cancel(why)
	}
	return nil
}

// SetLimits changes how many jobs run at once, and how many of them in each vault, by its key; 0 there: as
// many as at once. Those that run go on.
func (t *Table) SetLimits(running int, vault func(key string) int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if running > 0 {
		t.o.Running = running
	}
	t.inVault = vault
	t.dispatch()
}

// Hold keeps jobs of a vault from beginning until release is called; those that run go on. Why is what they
// wait for then, in words.
func (t *Table) Hold(vault, why string) (release func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reason := &why
	t.held[vault] = append(t.held[vault], reason)
	t.dispatch()
	return sync.OnceFunc(func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		left := slices.DeleteFunc(t.held[vault], func(r *string) bool { return r == reason })
		if t.held[vault] = left; len(left) == 0 {
			delete(t.held, vault)
		}
		t.dispatch()
	})
}

// Close starts no more jobs, interrupts those that run or wait, and returns when all bodies have, or
// with the error of ctx.
func (t *Table) Close(ctx context.Context) error {
	t.mu.Lock()
	again := t.closed
	t.closed = true
	waiting := t.queue
	t.queue = nil
	for _, j := range waiting {
		j.over = true
	}
	t.mu.Unlock()
	for _, j := range waiting {
		j.end(api.JobInterrupted, nil, t.o.Explain(ErrInterrupted))
	}
	t.stop(ErrInterrupted)
	ended := make(chan struct{})
	go func() {
		t.wait.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("jobs that did not end: %w", context.Cause(ctx))
	}
	if t.store != nil && !again {
		t.noting.Wait() // root has ended
		t.keepEnds()
		return t.store.close()
	}
	return nil
}
