package jobs

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// What is kept of the words of one job.
const (
	maxLines    = 1000
	maxWarnings = 200
	maxText     = 4096 // bytes
	keptAtOnce  = 3    // warnings, and notes, that are in the job's file before its end
)

// Progress is how far a body has come.
type Progress struct {
	Done, Total           int64  // Total 0: not known
	Unit                  string // bytes, or what is counted
	Read, Changed, Stored int64  // bytes
}

// Report is how a body tells how it comes along. Its methods are safe for concurrent use and quick, GiveWay
// apart.
type Report struct{ j *job }

// ID is the job's.
func (r *Report) ID() string { return r.j.head.ID }

// Phase says what is being done now.
func (r *Report) Phase(name string) {
	r.j.mu.Lock()
	same := r.j.head.Phase == name
	r.j.mu.Unlock()
	if same {
		return
	}
	r.j.update(func() {
		r.j.head.Phase = name
		if name != "" {
			r.j.line("info", name)
		}
	})
}

// Progress says how far it has come. It costs next to nothing.
func (r *Report) Progress(p Progress) {
	j := r.j
	j.mu.Lock()
	defer j.mu.Unlock()
	h := &j.head
	h.Done, h.Total, h.Unit, h.Read, h.Changed, h.Stored = p.Done, p.Total, p.Unit, p.Read, p.Changed, p.Stored
	j.version++
}

// Warn adds a warning: the job ends with warnings then, if it ends well.
func (r *Report) Warn(text string) {
	r.add(&r.j.head.Warnings, "warn", text)
}

// Note adds what people may want to know.
func (r *Report) Note(text string) {
	r.add(&r.j.head.Notes, "info", text)
}

func (r *Report) add(to *[]string, level, text string) {
	text = bounded(text)
	kept := 0
	r.j.update(func() {
		if kept = len(*to); kept == maxWarnings {
			text = "there is more like this, which is not kept"
		}
		if len(*to) <= maxWarnings {
			*to = append(*to, text)
		}
		r.j.line(level, text)
	})
	if kept < keptAtOnce {
		r.j.keep(nil)
	}
}

// Log adds a line to the job's log. Level is info, warn or error.
func (r *Report) Log(level, text string) {
	r.j.update(func() { r.j.line(level, bounded(text)) })
}

// line adds to the log, of which the newest lines are kept; j.mu is held.
func (j *job) line(level, text string) {
	if len(j.log) == maxLines {
		copy(j.log, j.log[1:])
		j.log = j.log[:maxLines-1]
		j.dropped++
	}
	j.log = append(j.log, api.LogLine{Time: api.At(j.t.o.Clock()), Level: level, Text: text})
}

func bounded(text string) string {
	if len(text) > maxText {
		return fmt.Sprintf("%s ... (%d bytes more)", text[:maxText], len(text)-maxText)
	}
	return text
}

// leastPause is how long jobs of low priority always may be held up.
const leastPause = 10 * time.Minute

// GiveWay returns at once, unless the job is of low priority: then it waits while other jobs run or
// wait, yet not for more than half of the time since it began, or ten minutes where that is longer. It
// returns the cause of ctx's end.
func (r *Report) GiveWay(ctx context.Context) error {
	if !r.j.spec.Low {
		return ctx.Err()
	}
	r.j.giving.Lock() // one goroutine of the body says that it waits, the others wait for it
	defer r.j.giving.Unlock()
	busy, moved := r.j.t.busy(r.j)
	if !busy || r.mayPause() <= 0 {
		return ctx.Err()
	}
	began := time.Now()
	r.j.mu.Lock()
	before := r.j.head.Phase
	r.j.mu.Unlock()
	r.Phase("gives way")
	defer func() {
		r.j.mu.Lock()
		r.j.paused += time.Since(began)
		r.j.mu.Unlock()
		r.Phase(before)
	}()
	limit := time.NewTimer(r.mayPause())
	defer limit.Stop()
	for busy {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return nil
		case <-moved:
		}
		busy, moved = r.j.t.busy(r.j)
	}
	return nil
}

// mayPause is how much longer the job may be held up.
func (r *Report) mayPause() time.Duration {
	r.j.mu.Lock()
	defer r.j.mu.Unlock()
	since := r.j.t.o.Clock().Sub(r.j.began)
	return max(leastPause, since/2) - r.j.paused
}
