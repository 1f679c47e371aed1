package daemon

import (
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// pruneAfter is how long points that could be pruned wait for backups that go on.
const pruneAfter = time.Hour

// taskJitter is by how much what is done for a vault begins later, at most.
const taskJitter = 30 * time.Minute

// prune decides whether machines are pruned of which backups were made since that was last done:
// when no backup runs any more or, at the latest, an hour after the first of them.
func (s *situation) prune(backups bool) (*order, time.Time) {
	since := s.past(s.pruned)
	for _, t := range s.tasks {
		if t.kind != api.JobPrune {
			continue
		}
		if t.waits {
			return nil, time.Time{}
		}
		since = latest(since, s.past(t.last)) // each by itself: one that is dated later than now hides nothing
	}
	var names []string
	var first time.Time
	for i := range s.machines {
		m := &s.machines[i]
		j := m.last
		if j == nil || j.Ended == nil || j.State != api.JobCompleted && j.State != api.JobWarnings || s.past(j.Ended.Time).Before(since) { // to the second
			continue
		}
		if p, ok, err := service.PolicyFor(m.machine, s.policies); err != nil || !ok || policy.Retention(p.Keep).IsZero() {
			continue
		}
		names = append(names, m.machine.Name)
		if at := s.past(j.Ended.Time); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if len(names) == 0 {
		return nil, time.Time{}
	}
	if at := first.Add(pruneAfter); backups && at.After(s.now) {
		return nil, at
	}
	return &order{request: api.JobRequest{Kind: api.JobPrune, Prune: &api.PruneOptions{Machines: names}}, due: s.now, attempt: 1}, time.Time{}
}

// task decides about what is done for the vault as a whole.
func (s *situation) task(f *taskFacts) (*order, time.Time) {
	if f.waits || f.schedule.IsZero() || f.kind == taskVerify && f.percent <= 0 {
		return nil, time.Time{}
	}
	t := policy.Timetable{Schedule: f.schedule, Offset: policy.Jitter(taskJitter, s.host+" "+f.kind)}
	last := s.past(f.last)
	at := t.When(last, s.now)
	if at.IsZero() || at.After(s.now) {
		return nil, at
	}
	o := &order{due: t.Next(last), attempt: 1, low: true}
	switch f.kind {
	case api.JobSweep:
		o.request = api.JobRequest{Kind: api.JobSweep, Sweep: &api.SweepOptions{}}
	case api.JobCheck:
		o.request = api.JobRequest{Kind: api.JobCheck, Check: &api.CheckOptions{}}
	case taskVerify:
		o.request = api.JobRequest{Kind: api.JobCheck, Check: &api.CheckOptions{Data: true, Percent: f.percent}}
	case api.JobCatalogue:
		o.request = api.JobRequest{Kind: api.JobCatalogue, Catalogue: &api.CatalogueOptions{Days: catalogueDays}}
	case api.JobPrune:
		o.request = api.JobRequest{Kind: api.JobPrune, Prune: &api.PruneOptions{}}
		o.low = false
	}
	return o, time.Time{}
}

// catalogueDays is how old the points are, at most, whose names are listed by themselves: who wants those of
// a year lists them once.
const catalogueDays = 31

// taskVerify reads back a part of the vault: a check of another schedule.
const taskVerify = "verify"

// verifyPercent is how much of a vault is read back each day: what the most careful of its
// policies asks for, that is for some machine.
func (s *situation) verifyPercent() (percent float64) {
	for i := range s.machines {
		if p, ok, err := service.PolicyFor(s.machines[i].machine, s.policies); err == nil && ok {
			percent = max(percent, service.VerifyPercent(p))
		}
	}
	return percent
}
