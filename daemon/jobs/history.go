package jobs

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// cutEvery is after how many jobs the history is cut.
const cutEvery = 50

// ended lets go of what a job that is over holds in memory, where it is kept in files, and of old jobs
// now and then.
func (t *Table) ended(j *job) {
	t.mu.Lock()
	j.over, j.cancel = true, nil
	if j.impatient != nil {
		j.impatient.Stop()
	}
	if t.store != nil {
		t.unkept = append(t.unkept, j)
	}
	t.writes++
	due := t.writes >= cutEvery
	t.mu.Unlock()
	t.keepEnds()
	if j.spec.Over != nil {
		j.spec.Over()
	}
	if due {
		t.cut(t.o.Clock())
	}
}

// keepEnds sees to it that the files of jobs that are over say so, those too whose files could not be written when
// they ended: the folder's disk was full, perhaps. Then they need not be held in memory.
func (t *Table) keepEnds() {
	if t.store == nil {
		return
	}
	t.mu.Lock()
	list := slices.Clone(t.unkept)
	t.mu.Unlock()
	for _, j := range list {
		if !j.keepEnd() {
			continue
		}
		slim := &job{t: t, head: j.now(), request: j.request, slim: true, over: true}
		slim.head.Result = nil
		t.mu.Lock()
		if t.jobs[j.head.ID] == j {
			t.jobs[j.head.ID] = slim
		}
		t.unkept = slices.DeleteFunc(t.unkept, func(u *job) bool { return u == j })
		t.mu.Unlock()
	}
}

// cut removes jobs from the history that are too old, as far as the clock can be believed, or too many.
func (t *Table) cut(now time.Time) {
	t.mu.Lock()
	t.writes = 0
	over, asked := make([]*job, 0, len(t.jobs)), make([]time.Time, 0, len(t.jobs))
	for _, j := range t.jobs {
		asked = append(asked, j.head.Queued.Time) // which does not change
		if j.over {
			over = append(over, j)
		}
	}
	leaps := leapsIn(asked, now)
	doubt := ""
	slices.SortFunc(over, func(a, b *job) int { return cmp.Compare(b.head.ID, a.head.ID) })
	var gone []string
	for i, j := range over {
		asked := j.head.Queued.Time
		old := now.Sub(asked) > t.o.Age
		if old && now.Sub(asked)-doubted(leaps, asked) <= t.o.Age {
			old, doubt = false, cmp.Or(doubt, t.doubts(leaps, now))
		}
		if i >= t.o.Count || old {
			delete(t.jobs, j.head.ID)
			t.unkept = slices.DeleteFunc(t.unkept, func(u *job) bool { return u == j })
			gone = append(gone, j.head.ID)
		}
	}
	t.mu.Unlock()
	if doubt != "" {
		t.o.Warn(doubt)
	}
	if t.store == nil {
		return
	}
	for _, id := range gone {
		if err := t.store.remove(id); err != nil {
			t.o.Warn(fmt.Sprintf("job %s is too old and cannot be removed: %v", id, err))
		}
	}
}
