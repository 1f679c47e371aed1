package jobs_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// history is a table whose clock goes as it is told.
type history struct {
	t     *testing.T
	table *jobs.Table
	dir   string

	mu   sync.Mutex // the table asks and tells whenever it likes
	now  time.Time
	said []string
}

func (h *history) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// pass sets the clock to what it makes of it.
func (h *history) pass(to func(time.Time) time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = to(h.now)
	return h.now
}

func (h *history) warned(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, text)
}

func newHistory(t *testing.T) *history {
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-jobs-") // each job waits for the disk
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &history{t: t, dir: dir, now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)}
	h.open()
	return h
}

func (h *history) open() {
	h.table = open(h.t, jobs.Options{Dir: h.dir, Count: 400, Clock: h.clock, Warn: h.warned})
}

// again closes the table, and opens it at the time that it is.
func (h *history) again() {
	h.t.Helper()
	if err := h.table.Close(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

// work does some jobs, one after the other, and lets time go by before each.
func (h *history) work(n int, every time.Duration) {
	h.t.Helper()
	for range n {
		h.pass(func(now time.Time) time.Time { return now.Add(every) })
		j := startSpec(h.t, h.table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: "web1"}, Do: nothing})
		end(h.t, h.table, j.ID)
	}
}

// from counts the jobs that were asked for within a time of one.
func (h *history) from(at time.Time, within time.Duration) (n int) {
	for _, j := range h.table.Jobs(api.JobQuery{Limit: 1000}) {
		if d := j.Queued.Sub(at); d > 0 && d <= within {
			n++
		}
	}
	return n
}

func TestAClockThatJumpsAheadMakesNoJobTooOld(t *testing.T) {
	t.Parallel()
	for _, byRestart := range []bool{false, true} {
		t.Run(fmt.Sprintf("by a restart %v", byRestart), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t)
			began := h.clock()
			h.work(60, 24*time.Hour)
			jumped := h.pass(func(now time.Time) time.Time { return now.AddDate(5, 0, 0) })
			if byRestart {
				h.again()
			}
			h.work(110, time.Hour) // it is cut every 50
			if n := h.from(began, 60*24*time.Hour); n != 60 {
				t.Errorf("of 60 jobs before the jump %d are left", n)
			}
			h.again()              // so that nothing is cut any more
			if len(h.said) != 2 || // by each table
				!strings.Contains(h.said[0], "Is the clock of this host right?") || !strings.Contains(h.said[0], "between 2026-12-31T00:00:00Z and 2031-12-31T") {
				t.Errorf("it says %q", h.said)
			}
			h.work(85, 24*time.Hour) // 150 days of jobs for the first of them, 90 for the last
			h.again()
			if n := h.from(began, 60*24*time.Hour); n == 0 || n > 5 {
				t.Errorf("after as many days of jobs as they are kept, %d are left", n)
			}
			if n := h.from(jumped, 85*24*time.Hour); n < 110 {
				t.Errorf("of those after the jump %d are left", n)
			}
			h.work(300, time.Minute)
			h.again()
			if n := len(h.table.Jobs(api.JobQuery{Limit: 1000})); n != 400 {
				t.Errorf("%d are kept, not as many as may be", n)
			}
		})
	}
}
