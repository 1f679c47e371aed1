package policy

import (
	"fmt"
	"strings"
	"time"
)

// Window is the part of each day in which runs begin and at whose end they are
// cancelled. The zero Window is always open.
type Window struct {
	zone     *time.Location
	from, to int // minutes of the day; to may be earlier: it ends the next day
}

// ParseWindow reads a window such as 22:00-06:00, in a zone; empty: always.
func ParseWindow(text string, zone *time.Location) (Window, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Window{}, nil
	}
	if zone == nil {
		zone = time.UTC
	}
	a, b, ok := strings.Cut(text, "-")
	from, err1 := readTime(strings.TrimSpace(a))
	to, err2 := readTime(strings.TrimSpace(b))
	if !ok || err1 != nil || err2 != nil {
		return Window{}, fmt.Errorf("window %.40q: write, for example, 22:00-06:00", text)
	}
	if from == to {
		return Window{}, fmt.Errorf("window %q: it ends when it begins; leave it out for all of the day", text)
	}
	return Window{zone, from, to}, nil
}

// IsZero tells whether it is always open.
func (w Window) IsZero() bool { return w.zone == nil }

// String is the window as it is read, empty where it is always open.
func (w Window) String() string {
	if w.IsZero() {
		return ""
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.from/60, w.from%60, w.to/60, w.to%60)
}

// bounds returns the window that is open at t, or the next one.
func (w Window) bounds(t time.Time) (from, to time.Time) {
	day := wall(t, w.zone).Truncate(24*time.Hour).AddDate(0, 0, -1) // yesterday's may be open
	at := func(minutes int) time.Time { return instant(day.Add(time.Duration(minutes)*time.Minute), w.zone) }
	for ; ; day = day.AddDate(0, 0, 1) {
		length := w.to
		if w.to < w.from {
			length += 24 * 60
		}
		// One that the clocks skip is not there on that day.
		if from, to = at(w.from), at(length); to.After(from) && to.After(t) {
			return from, to
		}
	}
}

// Open returns t, if the window is open then, or else when it opens next.
func (w Window) Open(t time.Time) time.Time {
	if w.IsZero() {
		return t
	}
	if from, _ := w.bounds(t); from.After(t) {
		return from
	}
	return t
}

// End returns when the window that is open at t, or the next one, ends; zero: never.
func (w Window) End(t time.Time) time.Time {
	if w.IsZero() {
		return time.Time{}
	}
	_, to := w.bounds(t)
	return to
}
