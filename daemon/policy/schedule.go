package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule is when runs are due. The zero Schedule never is.
type Schedule struct {
	text  string
	zone  *time.Location
	specs []spec
	every time.Duration // instead of specs
}

// spec is one cron expression.
type spec struct {
	*cron.SpecSchedule
	hourly  bool // it says nothing of hours: each hour that passes is one
	lastDay bool // of its days, only the last of a month
}

// maxSchedule is the longest text of a schedule.
const maxSchedule = 200

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// ParseSchedule reads a schedule, in words or as a cron expression of five fields
// (or @daily and the like), whose times are those of a zone; nil is UTC. The words:
//
//	hourly
//	daily at 22:00             also: daily at 06:00, 22:00
//	weekdays at 22:00          weekends at 03:00
//	weekly on sunday at 03:00  also: weekly on mon, wed and fri at 01:30
//	monthly on 1 at 04:00      also: monthly on last day at 04:00
//	every 4h                   also: every 30 minutes
//
// Without a time of day, it is midnight; without a day, Sunday or the first.
// `every` counts real time, always as long, from the midnight with which 2001 began.
func ParseSchedule(text string, zone *time.Location) (Schedule, error) {
	if zone == nil {
		zone = time.UTC
	}
	s := Schedule{text: strings.Join(strings.Fields(text), " "), zone: zone}
	if len(text) > maxSchedule || s.text == "" {
		return Schedule{}, fmt.Errorf("schedule %.40q: a schedule has 1 to %d characters", text, maxSchedule)
	}
	var err error
	if strings.ContainsAny(s.text[:1], "@*0123456789") {
		err = s.add(s.text, false)
	} else {
		err = s.words(strings.ToLower(s.text))
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("schedule %q: %w", s.text, err)
	}
	if s.Next(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Schedule{}, fmt.Errorf("schedule %q: no such day ever comes", s.text)
	}
	return s, nil
}

// add adds a cron expression.
func (s *Schedule) add(expression string, lastDay bool) error {
	switch {
	case strings.HasPrefix(expression, "@every"):
		return errors.New("write `every 4h`")
	case !strings.HasPrefix(expression, "@") && len(strings.Fields(expression)) != 5:
		return errors.New("a cron expression has five fields: minute, hour, day of the month, month, day of the week")
	}
	parsed, err := parser.Parse(expression)
	if err != nil {
		return fmt.Errorf("it is no cron expression: %w", err)
	}
	p, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return errors.New("it is no cron expression")
	}
	const allHours = 1<<24 - 1
	c := spec{SpecSchedule: p, hourly: p.Hour&allHours == allHours, lastDay: lastDay}
	if p.Location = time.UTC; c.hourly { // others are looked for on the wall
		p.Location = s.zone
	}
	s.specs = append(s.specs, c)
	return nil
}

// IsZero tells whether nothing is ever due.
func (s Schedule) IsZero() bool { return s.every == 0 && len(s.specs) == 0 }

// String is the schedule as it was written, without its zone.
func (s Schedule) String() string { return s.text }

// Next returns the first time after a time at which a run is due; zero: never.
func (s Schedule) Next(after time.Time) (next time.Time) {
	if s.every > 0 {
		anchor := time.Date(2001, 1, 1, 0, 0, 0, 0, s.zone)
		// Durations end at 292 years; seconds do not.
		step := int64(s.every / time.Second)
		n := (after.Unix() - anchor.Unix()) / step
		if after.Unix() < anchor.Unix() {
			n--
		}
		next = time.Unix(anchor.Unix()+n*step, 0).In(s.zone)
		for !next.After(after) {
			next = next.Add(s.every)
		}
		return next
	}
	for _, c := range s.specs {
		if t := c.next(after, s.zone); !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

// next is Next of one expression.
func (c spec) next(after time.Time, zone *time.Location) time.Time {
	if c.hourly {
		return c.patient(after)
	}
	for w := wall(after, zone); ; {
		if w = c.patient(w); w.IsZero() {
			return w
		}
		if c.lastDay && w.AddDate(0, 0, 1).Month() == w.Month() {
			continue
		}
		if t := instant(w, zone); t.After(after) { // else the wall shows it for the second time
			return t
		}
	}
}

// patient waits for a leap day over the end of a century that has none, which the
// parser's own Next, looking five years ahead, takes for never.
func (c spec) patient(after time.Time) time.Time {
	t := c.Next(after)
	for ahead := 4; t.IsZero() && ahead <= 8; ahead += 4 {
		t = c.Next(after.AddDate(ahead, 0, 0))
	}
	return t
}
