package policy

import (
	"hash/fnv"
	"time"
)

// Timetable is when runs begin: as a schedule says, an offset later, and only
// while a window is open. Runs that are due while it is closed are one, soon after it opens.
type Timetable struct {
	Schedule Schedule
	Window   Window
	Offset   time.Duration // from the schedule, not negative; see Jitter
}

// Jitter is an offset below a limit which spreads the runs of many hosts. It
// depends on the seed alone, and is whole seconds.
func Jitter(limit time.Duration, seed string) time.Duration {
	if limit < time.Second {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(seed))
	return time.Duration(h.Sum64()%uint64(limit/time.Second)) * time.Second
}

// Next returns when the first run after a time begins; zero: never.
func (t Timetable) Next(after time.Time) time.Time {
	// What is due may begin later, by the offset or when the window opens: looking
	// back over both finds the run that is waiting still.
	at := after.Add(-t.Offset)
	if !t.Window.IsZero() {
		at = at.Add(-25 * time.Hour)
	}
	for {
		due := t.Schedule.Next(at)
		if due.IsZero() {
			return due
		}
		begins := t.begins(due)
		if begins.After(after) {
			return begins
		}
		if at = due; !t.Window.IsZero() { // what is due before this begins before after, too
			if skip := earlier(after, t.Window.End(due)).Add(-t.Offset - 1); t.Window.Open(due).Equal(due) && skip.After(at) {
				at = skip
			} else if skip := t.Window.Open(due).Add(-1); skip.After(at) {
				at = skip
			}
		}
	}
}

// begins says when a run begins that is due at a time; never earlier than one that
// is due before it.
func (t Timetable) begins(due time.Time) time.Time {
	if t.Window.IsZero() {
		return due.Add(t.Offset)
	}
	from, to := t.Window.bounds(due)
	if late := due.Add(t.Offset); !from.After(due) {
		if late.Before(to) {
			return late
		}
		from, to = t.Window.bounds(to)
	}
	return from.Add(min(t.Offset, to.Sub(from)/2))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// When returns when the next run begins, at the earliest now, where the latest one
// began at last; zero: there was none. Runs that were missed since are caught up, once, as soon as
// the window is open. A last run in the future, of a clock that was wrong, is taken for one now.
// Zero: never.
func (t Timetable) When(last, now time.Time) time.Time {
	if last.IsZero() || last.After(now) {
		last = now
	}
	at := t.Next(last)
	if at.IsZero() || at.After(now) {
		return at
	}
	return t.Window.Open(now)
}
