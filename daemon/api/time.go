package api

import (
	"fmt"
	"time"
)

// Time is an instant that is written as RFC 3339 in UTC to the second, which
// every tool that reads JSON understands.
type Time struct{ time.Time }

// At returns t as it is written.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Second)} }

// MarshalText writes t, for example 2026-11-22T22:00:05Z.
func (t Time) MarshalText() ([]byte, error) {
	return []byte(t.UTC().Format("2006-01-02T15:04:05Z")), nil
}

// MarshalJSON writes t as a string, as MarshalText does.
func (t Time) MarshalJSON() ([]byte, error) {
	return []byte(t.UTC().Format(`"2006-01-02T15:04:05Z"`)), nil
}

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' || b[len(b)-1] != '"' {
		return fmt.Errorf("time %.40s is not a string", b)
	}
	return t.UnmarshalText(b[1 : len(b)-1])
}

// UnmarshalText reads any RFC 3339 time.
func (t *Time) UnmarshalText(b []byte) error {
	parsed, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return err
	}
	*t = At(parsed)
	return nil
}

// Moment is a time that a guest wrote, as it can be told, in UTC with its fractions; nil where its file system keeps
// none, and where RFC 3339 has none: guests write what they like.
func Moment(t time.Time) *time.Time {
	if t = t.UTC(); t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return nil
	}
	return &t
}
