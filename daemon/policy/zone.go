package policy

import (
	"fmt"
	"time"
	_ "time/tzdata" // hosts without tzdata know all zones
)

// Zone returns the time zone of a name such as Europe/Berlin; without a name, UTC.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("time zone %q means another one on each host: name it, for example Europe/Berlin", name)
	}
	if len(name) > 64 {
		return nil, fmt.Errorf("time zone %.64q: there is none of that name", name)
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q: there is none of that name; write, for example, Europe/Berlin or UTC", name)
	}
	return z, nil
}

// wall is what a clock on the wall shows at t, as a time in UTC.
func wall(t time.Time, z *time.Location) time.Time {
	t = t.In(z)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when a clock on the wall shows w first. A time that it skips is
// when it skips it.
func instant(w time.Time, z *time.Location) time.Time {
	t := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), z)
	from, to := t.ZoneBounds()
	switch shown := wall(t, z); {
	case shown.After(w):
		return from
	case shown.Before(w):
		return to
	}
	if from.IsZero() {
		return t
	}
	_, off := t.Zone()
	_, before := from.Add(-1).Zone()
	if first := t.Add(time.Duration(off-before) * time.Second); before > off && first.Before(from) {
		return first
	}
	return t
}
