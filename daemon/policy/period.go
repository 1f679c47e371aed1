package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Retention is how many points are kept: the last ones, and the newest of each of as many
// hours, days, ISO weeks (from Monday), months and years that have points. All zero: everything is kept.
type Retention struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
}

// MaxKeep is the largest count of a retention.
const MaxKeep = 100_000

// period is one rule of a retention: how many, and in which period a time lies.
type period struct {
	name  string
	count int
	of    func(time.Time) string // names the period of a local time; nil: each point is one
}

// periods returns the rules that keep something.
func (r Retention) periods() (all []period) {
	for _, p := range []period{
		{"last", r.Last, nil},
		// Of an hour that the clocks repeat, each is one of its own.
		{"hourly", r.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15h -0700") }},
		{"daily", r.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{"weekly", r.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%04d-W%02d", year, week)
		}},
		{"monthly", r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"yearly", r.Yearly, func(t time.Time) string { return t.Format("2006") }},
	} {
		if p.count > 0 {
			all = append(all, p)
		}
	}
	return all
}

// Check refuses counts that mean nothing.
func (r Retention) Check() error {
	var errs []error
	for name, n := range map[string]int{"last": r.Last, "hourly": r.Hourly, "daily": r.Daily, "weekly": r.Weekly, "monthly": r.Monthly, "yearly": r.Yearly} {
		if n < 0 || n > MaxKeep {
			errs = append(errs, fmt.Errorf("keep %d %s: choose 0 to %d", n, name, MaxKeep))
		}
	}
	return errors.Join(errs...)
}

// IsZero tells whether everything is kept.
func (r Retention) IsZero() bool { return r == Retention{} }

// String is for people, for example `last 3, daily 7`.
func (r Retention) String() string {
	var words []string
	for _, p := range r.periods() {
		words = append(words, fmt.Sprintf("%s %d", p.name, p.count))
	}
	if len(words) == 0 {
		return "everything"
	}
	return strings.Join(words, ", ")
}
