package jobs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// lowPatience is after how long a job of low priority begins although others wait.
const lowPatience = 6 * time.Hour

// dispatch begins the jobs whose turn has come; t.mu is held.
func (t *Table) dispatch() {
	close(t.moved)
	t.moved = make(chan struct{})
	if t.closed {
		return
	}
	for _, low := range []bool{false, true} {
		for _, j := range slices.Clone(t.queue) {
			if t.full(low) {
				break
			}
			if j.spec.Low == low && t.mayBegin(j) {
				t.begin(j)
			}
		}
	}
	for _, j := range t.queue {
		if why := t.waitsFor(j); why != j.now().WaitsFor {
			j.update(func() { j.head.WaitsFor = why })
		}
	}
}

// waitsFor says why a job does not begin; t.mu is held.
func (t *Table) waitsFor(j *job) string {
	if reasons := t.held[j.head.Vault]; len(reasons) > 0 {
		return *reasons[0]
	}
	for _, r := range t.working() {
		if slices.ContainsFunc(j.spec.Alone, func(a string) bool { return slices.Contains(r.spec.Alone, a) }) {
			return fmt.Sprintf("job %s (%s) runs", r.head.ID, strings.TrimSpace(r.head.Kind+" "+r.head.Machine))
		}
	}
	var same []string
	for _, r := range t.working() {
		if r.spec.Low == j.spec.Low {
			same = append(same, r.head.ID)
		}
	}
	if len(same) == 0 {
		return "other jobs go first"
	}
	return fmt.Sprintf("as many jobs run as may at once: %s", strings.Join(same, ", "))
}

// full tells whether as many jobs of a priority run as may; t.mu is held.
func (t *Table) full(low bool) bool {
	n := 0
	for _, r := range t.working() {
		if r.spec.Low == low {
			n++
		}
	}
	if low {
		return n >= t.o.Low
	}
	return n >= t.o.Running
}

// mayBegin tells whether a job's turn has come; t.mu is held.
func (t *Table) mayBegin(j *job) bool {
	if len(t.held[j.head.Vault]) > 0 {
		return false
	}
	same, inVault := 0, 0
	for _, r := range t.working() {
		if j.notBeside(r) {
			return false
		}
		if r.spec.Low == j.spec.Low {
			if same++; r.head.Vault == j.head.Vault {
				inVault++
			}
		}
	}
	if !j.spec.Low {
		most := t.o.Vault
		if t.inVault != nil {
			most = t.inVault(j.head.Vault)
		}
		return same < t.o.Running && (most <= 0 || inVault < most)
	}
	first := slices.ContainsFunc(t.queue, func(q *job) bool { return !q.spec.Low && len(t.held[q.head.Vault]) == 0 })
	return same < t.o.Low && (!first || t.o.Clock().Sub(j.head.Queued.Time) > lowPatience)
}

// begin runs a job in a goroutine that Close waits for; t.mu is held.
func (t *Table) begin(j *job) {
	t.queue = slices.DeleteFunc(t.queue, func(q *job) bool { return q == j })
	t.running = append(t.running, j)
	if j.impatient != nil {
		j.impatient.Stop()
	}
	ctx, cancel := context.WithCancelCause(t.root)
	j.cancel = cancel
	t.wait.Go(func() {
		defer cancel(nil)
		j.run(ctx)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.running = slices.DeleteFunc(t.running, func(r *job) bool { return r == j })
		t.dispatch()
	})
}

// makeRoom lets others begin in the place of a job whose body has returned: before anybody hears of its end, who
// might ask for the next one.
func (t *Table) makeRoom(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	j.returned = true
	t.dispatch()
}

// working returns the jobs whose bodies run; t.mu is held.
func (t *Table) working() []*job {
	return slices.DeleteFunc(slices.Clone(t.running), func(r *job) bool { return r.returned })
}

// busy tells whether another job of usual priority runs, or waits for anything but the end of this one, and returns
// what is closed when that may have changed.
func (t *Table) busy(but *job) (bool, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	usual := func(j *job) bool { return !j.spec.Low && j != but && !j.returned && len(t.held[j.head.Vault]) == 0 }
	waits := func(j *job) bool { return usual(j) && !j.notBeside(but) }
	return slices.ContainsFunc(t.queue, waits) || slices.ContainsFunc(t.running, usual), t.moved
}

// notBeside tells whether only one of two jobs may run at a time.
func (j *job) notBeside(other *job) bool {
	return slices.ContainsFunc(j.spec.Alone, func(a string) bool { return slices.Contains(other.spec.Alone, a) })
}

// Unfinished returns the jobs that run or wait, the first asked for first, of one vault or of all where it
// is "".
func (t *Table) Unfinished(vault string) []api.Job {
	t.mu.Lock()
	running := len(t.running)
	list := slices.Concat(t.running, t.queue)
	t.mu.Unlock()
	all := []api.Job{}
	for i, j := range list {
		n := j.now()
		if i < running && n.State == api.JobQueued {
			n.State = api.JobRunning // its goroutine has not come to say so
		}
		if vault == "" || n.Vault == vault {
			all = append(all, n)
		}
	}
	return all
}
