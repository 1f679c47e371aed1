package jobs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// progressEvery is how often followers are told of progress alone.
const progressEvery = 200 * time.Millisecond

// Follow calls fn with how a job stands, at once and whenever that changes, until it is over, fn fails
// or ctx ends. What happens while fn is busy is told together afterwards: the job never waits for it.
// Of a log that grew by more than is kept meanwhile, the oldest lines are missing.
func (t *Table) Follow(ctx context.Context, id string, fn func(api.JobEvent) error) error {
	t.mu.Lock()
	j := t.jobs[id]
	t.mu.Unlock()
	if j == nil {
		return fmt.Errorf("job %.40s: %w", id, ErrNotFound)
	}
	if j.slim {
		full, err := t.Job(id)
		if err != nil {
			return err
		}
		full.Log = nil
		return fn(api.JobEvent{Job: full})
	}
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	seen, lines := -1, 0
	for {
		now, news, changed := j.since(&seen, &lines)
		for _, l := range news {
			if err := fn(api.JobEvent{Job: now, Log: &l}); err != nil {
				return err
			}
		}
		if len(news) == 0 && changed.told {
			if err := fn(api.JobEvent{Job: now}); err != nil {
				return err
			}
		}
		if now.Over() {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed.next:
		case <-tick.C:
		}
	}
}

type change struct {
	told bool // there is something new
	next <-chan struct{}
}

// since returns how the job stands and what is new since a version and a line.
func (j *job) since(version, line *int) (api.Job, []api.LogLine, change) {
	j.mu.Lock()
	defer j.mu.Unlock()
	news := slices.Clone(j.log[max(0, *line-j.dropped):])
	c := change{*version != j.version, j.changed}
	*version, *line = j.version, j.dropped+len(j.log)
	return j.copy(), news, c
}

// Job returns one job, with its log and result.
func (t *Table) Job(id string) (api.Job, error) {
	t.mu.Lock()
	j := t.jobs[id]
	t.mu.Unlock()
	if j == nil {
		return api.Job{}, fmt.Errorf("job %.40s: %w", id, ErrNotFound)
	}
	if j.slim {
		return t.store.full(j.now())
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.copy()
	c.Log = slices.Clone(j.log)
	return c, nil
}

// Request returns what was asked for.
func (t *Table) Request(id string) (api.JobRequest, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.jobs[id]
	if j == nil {
		return api.JobRequest{}, fmt.Errorf("job %.40s: %w", id, ErrNotFound)
	}
	return j.request, nil
}

// Jobs returns jobs without logs and results, the newest first.
func (t *Table) Jobs(q api.JobQuery) []api.Job {
	t.mu.Lock()
	list := make([]*job, 0, len(t.jobs))
	for _, j := range t.jobs {
		list = append(list, j)
	}
	t.mu.Unlock()
	slices.SortFunc(list, func(a, b *job) int { return cmp.Compare(b.head.ID, a.head.ID) })
	all := []api.Job{}
	for _, j := range list {
		n := j.now()
		if len(all) == limitOf(q) {
			break
		}
		if fits(&n, q) {
			n.Result = nil
			all = append(all, n)
		}
	}
	return all
}

func limitOf(q api.JobQuery) int {
	if q.Limit <= 0 {
		return 100
	}
	return q.Limit
}

func fits(j *api.Job, q api.JobQuery) bool {
	is := func(asked, has string) bool { return asked == "" || asked == has }
	return is(q.Vault, j.Vault) && is(q.Machine, j.Machine) && is(q.Kind, j.Kind) && is(q.State, j.State) &&
		(q.Since == nil || !j.Queued.Before(q.Since.Time))
}
