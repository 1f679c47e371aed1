package jobs

import (
	"fmt"
	"slices"
	"time"
)

// leapLimit is how far apart jobs are, and the clock from the last of them, for the time between to be believed. A clock
// that jumps ahead must not make the whole history too old at once.
const leapLimit = 30 * 24 * time.Hour

// leap is a stretch of time of which nobody knows whether it passed: no job was asked for in it.
type leap struct{ from, to time.Time }

// leapsIn finds them between the times at which jobs were asked for, and up to now. What is dated later than now says
// nothing.
func leapsIn(asked []time.Time, now time.Time) (leaps []leap) {
	now = now.Round(0) // what the clock shows, not the time that passed
	times := append(slices.Clone(asked), now)
	slices.SortFunc(times, time.Time.Compare)
	for i, to := range times[1:] {
		if from := times[i]; to.Sub(from) > leapLimit && !to.After(now) {
			leaps = append(leaps, leap{from, to})
		}
	}
	return leaps
}

// doubted is how much of the time since at may not have passed.
func doubted(leaps []leap, at time.Time) (d time.Duration) {
	for _, l := range leaps {
		if !l.from.Before(at) {
			d += l.to.Sub(l.from)
		}
	}
	return d
}

// doubts says once of the last leap that jobs are kept because of it; t.mu is held.
func (t *Table) doubts(leaps []leap, now time.Time) string {
	l := leaps[len(leaps)-1]
	if l.from.Equal(t.doubted) {
		return ""
	}
	t.doubted = l.from
	show := func(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05Z") }
	return fmt.Sprintf("the clock says %s, and between %s and %s no job was asked for: jobs from before are not removed for their age, as long as %d days of jobs did not pass since. Is the clock of this host right?",
		show(now), show(l.from), show(l.to), int(t.o.Age.Hours()/24))
}
