package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

const (
	// lookAgain is how long nothing is decided about a vault, at most.
	lookAgain = time.Minute
	// leftAlone is how long a vault is left alone after something was decided about it.
	leftAlone = time.Second
)

// starter starts jobs and ends them: a service and its table.
type starter interface {
	StartAs(ctx context.Context, q api.JobRequest, h service.How) (api.Job, error)
	Cancel(id string, why error) error
	Unfinished(vault string) []api.Job
}

// scheduler starts what is due in each vault. What it decides is decided by a situation; this
// gathers those, and obeys. A vault that does not answer keeps nothing from the others.
type scheduler struct {
	log    *slog.Logger
	vaults *vaults
	jobs   starter
	memory *memory
	clock  func() time.Time
	host   string    // for the jitter
	booted time.Time // zero: not known
	pause  time.Duration

	poked chan struct{} // of capacity 1
	beat  func()        // called whenever its loop turns

	mu    sync.Mutex
	epoch time.Time // since when the clock did not go back
	seen  time.Time // on it, last
	of    map[*heldVault]*vaultSchedule
	ends  map[string]ending // of jobs, by id
	last  lastJobs
	wait  sync.WaitGroup
}

// ending is when a job is cancelled that was not over by then, and why.
type ending struct {
	at  time.Time
	why error
}

// vaultSchedule is what a scheduler knows of one vault.
type vaultSchedule struct {
	deciding bool
	poked    bool
	next     time.Time // to decide at; zero: now
	points   pointMemory
	clock    string // why the vault does not believe the clock; "": it does
}

// WindowError is why a run was cancelled that did not end within its window.
type WindowError struct{ Window string }

func (e *WindowError) Error() string {
	return fmt.Sprintf("its window %s ended before it did; it goes on from what was stored when the window opens again", e.Window)
}

// poke has a vault looked at soon, or every one where it is nil.
func (s *scheduler) poke(h *heldVault) {
	s.mu.Lock()
	for v, vs := range s.of {
		if h == nil || h == v {
			vs.poked = true
		}
	}
	s.mu.Unlock()
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// now is what the clock shows: by that, and not by the time that passed, it is seen to be set back.
func (s *scheduler) now() time.Time { return s.clock().Round(0) }

// run decides until ctx ends, and returns when nothing is being decided any more.
func (s *scheduler) run(ctx context.Context) {
	defer s.wait.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.poked:
		}
		s.beat()
		timer.Reset(s.turn(ctx))
	}
}

// turn begins to decide where that is due, and returns when to turn again.
func (s *scheduler) turn(ctx context.Context) time.Duration {
	now := s.now()
	s.cancelWhatIsLate(now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch.IsZero() || now.Before(s.seen.Add(-time.Second)) {
		if !s.epoch.IsZero() {
			s.log.Warn("the clock went back", "from", s.seen, "to", now)
		}
		s.epoch = now
	}
	s.seen = now
	wait := lookAgain
	held := s.vaults.list()
	for h := range s.of {
		if !slices.Contains(held, h) {
			delete(s.of, h)
		}
	}
	for _, h := range held {
		v := s.of[h]
		if v == nil {
			v = &vaultSchedule{}
			s.of[h] = v
		}
		if v.deciding {
			continue
		}
		if left := v.next.Sub(now); left > 0 && left <= lookAgain && !v.poked {
			wait = min(wait, left)
			continue
		}
		v.deciding, v.poked = true, false
		s.wait.Go(func() { s.decide(ctx, h, v, now) })
	}
	for _, e := range s.ends {
		wait = min(wait, max(0, e.at.Sub(now)))
	}
	return max(wait, s.pause/10)
}

// decide gathers what is known of a vault, starts what is due, and notes when to look again.
func (s *scheduler) decide(ctx context.Context, h *heldVault, v *vaultSchedule, now time.Time) {
	wake := time.Time{}
	sit, err := s.gather(ctx, h, v, now)
	if err == nil {
		var orders []order
		orders, wake = sit.decide()
		failed := 0
		for _, o := range orders {
			if err := s.obey(ctx, h, o, now); err != nil {
				failed++
				if failed == 1 { // mostly the same keeps all of them from it
					s.log.Error("a job that is due cannot be started", "vault", h.config().Path, "kind", o.request.Kind, "machine", o.request.Machine, "error", err)
				}
			}
		}
		if failed > 1 {
			s.log.Error("more jobs that are due cannot be started", "vault", h.config().Path, "count", failed-1)
		}
	} else if ctx.Err() == nil {
		s.log.Debug("nothing is scheduled in a vault", "vault", h.config().Path, "error", err)
	}
	select { // jobs that begin and end poke it, one after the other
	case <-time.After(s.pause):
	case <-ctx.Done():
	}
	s.mu.Lock()
	v.deciding = false
	if v.next = now.Add(lookAgain); !wake.IsZero() && wake.Before(v.next) {
		v.next = wake
	}
	s.mu.Unlock()
	select {
	case s.poked <- struct{}{}:
	default:
	}
}

// obey starts a job; an error is why it could not, while ctx lasts.
func (s *scheduler) obey(ctx context.Context, h *heldVault, o order, now time.Time) error {
	known := h.known()
	o.request.Vault = known.Key()
	by := "schedule"
	if o.policy != "" {
		by = "policy " + o.policy
	}
	log := s.log.With("vault", known.Name, "kind", o.request.Kind, "machine", o.request.Machine)
	j, err := s.jobs.StartAs(ctx, o.request, service.How{By: by, Policy: o.policy, Due: o.due, Attempt: o.attempt, RetryOf: o.retryOf, Low: o.low, Priority: o.priority, Limit: o.limit})
	if err != nil && ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("job is due", "job", j.ID, "due", o.due, "attempt", o.attempt, "policy", o.policy)
	if kind := o.taskKind(); kind != "" {
		if err := s.memory.begun(string(known.ID), kind, now); err != nil {
			log.Warn("it may be done again", "error", err)
		}
	}
	if !o.until.IsZero() {
		s.mu.Lock()
		s.ends[j.ID] = ending{o.until, &WindowError{o.window}}
		s.mu.Unlock()
	}
	return nil
}

// taskKind is as what it is remembered that something was done for a vault; "": it is not.
func (o *order) taskKind() string {
	switch {
	case o.request.Kind == api.JobBackup:
		return ""
	case o.request.Check != nil && o.request.Check.Data:
		return taskVerify
	case o.request.Prune != nil && len(o.request.Prune.Machines) > 0:
		return "prune-some"
	}
	return o.request.Kind
}

// cancelWhatIsLate cancels jobs whose window has ended.
func (s *scheduler) cancelWhatIsLate(now time.Time) {
	late := map[string]ending{}
	s.mu.Lock()
	for id, e := range s.ends {
		if !now.Before(e.at) {
			delete(s.ends, id)
			late[id] = e
		}
	}
	s.mu.Unlock()
	for id, e := range late {
		if err := s.jobs.Cancel(id, e.why); err != nil {
			s.log.Warn("a job whose window ended cannot be cancelled", "job", id, "error", err)
		}
	}
}
