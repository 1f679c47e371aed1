package daemon

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

const (
	// firstRetry is how long after a failure the first retry begins; each further one takes
	// twice as long, up to longestRetry.
	firstRetry   = 5 * time.Minute
	longestRetry = 2 * time.Hour
	// spreadScans is over how long scans after a restart of the host are spread at most.
	spreadScans = 6 * time.Hour
)

// backup decides about one machine: what to start now, or when to look again.
func (s *situation) backup(m *machineFacts) (*order, time.Time) {
	p, ok, err := service.PolicyFor(m.machine, s.policies)
	if err != nil || !ok || p.Schedule == "" || m.machine.Protected == nil {
		return nil, time.Time{}
	}
	t, ok := s.timetable(p)
	if !ok || m.waits() {
		return nil, time.Time{}
	}
	if at := s.retryAt(m, p, t); !at.IsZero() {
		if at.After(s.now) {
			return nil, at
		}
		o := s.order(m, p, t, s.past(m.last.Queued.Time))
		if m.last.Due != nil {
			o.due = m.last.Due.Time
		}
		o.retryOf = m.last.ID
		if o.attempt = m.last.Attempt + 1; m.last.Started == nil {
			o.attempt-- // it never began
		}
		return o, time.Time{}
	}
	last := s.lastRun(m, p)
	at := latest(t.When(last, s.now), m.heldUntil)
	if at.After(s.now) || at.IsZero() {
		return nil, at
	}
	if at := t.Window.Open(s.now); at.After(s.now) {
		return nil, at // the hold ended while it was closed
	}
	due := t.Next(last)
	if at := s.spread(m, t, due); at.After(s.now) {
		return nil, at
	}
	return s.order(m, p, t, due), time.Time{}
}

// order makes the order of a backup by a policy.
func (s *situation) order(m *machineFacts, p blockstore.Policy, t policy.Timetable, due time.Time) *order {
	return &order{
		request: api.JobRequest{Kind: api.JobBackup, Machine: m.machine.Name, Backup: &api.BackupOptions{Rate: p.ReadRate, WriteRate: p.WriteRate}},
		policy:  p.Name, due: due, attempt: 1, priority: p.Priority,
		until: t.Window.End(s.now), window: t.Window.String(), limit: time.Duration(p.Limit) * time.Second,
	}
}

// waits tells whether a backup of the machine is not over.
func (m *machineFacts) waits() bool { return m.last != nil && !m.last.Over() }

// lastRun is when a backup of the machine began last: as a job, or as a point that was made
// in another way. Before the first one it is when somebody first asked for any.
func (s *situation) lastRun(m *machineFacts, p blockstore.Policy) time.Time {
	last := s.past(m.newest)
	if m.last != nil {
		last = latest(last, s.past(began(m.last)))
	}
	if last.IsZero() {
		last = latest(s.past(p.Changed), s.past(m.machine.Protected.Since))
	}
	return last
}

// began is when a job began, or was asked for where it never did.
func began(j *api.Job) time.Time {
	if j.Started != nil {
		return j.Started.Time
	}
	return j.Queued.Time
}

// retryAt says when the last run is tried again; zero: it is not. It is only while its
// schedule does not want a new run, which takes its place.
func (s *situation) retryAt(m *machineFacts, p blockstore.Policy, t policy.Timetable) time.Time {
	j := m.last
	if j == nil || j.Policy == "" || j.Ended == nil || j.Attempt > service.Retries(p) && j.Started != nil || j.Queued.After(s.now) || m.newest.After(j.Queued.Time) {
		return time.Time{}
	}
	var at time.Time
	switch {
	case j.State == api.JobInterrupted:
		at = s.now
	case j.State == api.JobFailed && mayPass(j.Error):
		at = s.past(j.Ended.Time).Add(min(firstRetry<<min(j.Attempt-1, 10), longestRetry))
	default:
		return time.Time{}
	}
	at = t.Window.Open(latest(at, m.heldUntil, s.now))
	if next := t.Next(began(j)); !next.IsZero() && !next.After(at) {
		return time.Time{}
	}
	return at
}

// mayPass tells whether what a job failed of may be gone when it is tried again.
func mayPass(p *api.Problem) bool {
	const usage, notFound, refused = 2, 6, 8 // exit codes
	return p == nil || !slices.Contains([]int{usage, notFound, refused}, p.Exit)
}

// spread says when a machine's first run after a restart of the host begins, where it has to
// read whole disks: not all such machines at a time.
func (s *situation) spread(m *machineFacts, t policy.Timetable, due time.Time) time.Time {
	if !m.scans || s.booted.IsZero() || m.newest.IsZero() || !m.newest.Before(s.booted) || due.IsZero() {
		return time.Time{}
	}
	room := spreadScans
	if next := t.Schedule.Next(due); !next.IsZero() {
		room = min(room, next.Sub(due)/2)
	}
	from := latest(due, s.booted)
	if end := t.Window.End(due); !end.IsZero() {
		room = min(room, max(0, end.Sub(latest(from, t.Window.Open(due)))/2))
	}
	return from.Add(policy.Jitter(room, s.host+" "+string(m.machine.ID)))
}
