package config

import (
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// Size is a number of bytes as people write it, for example 20GiB; "none" is
// none at all, and empty what is usual.
type Size string

// None is the Size of nothing at all.
const None Size = "none"

// Bytes is the size, 0 where it is empty or none.
func (s Size) Bytes() int64 {
	n, _ := api.ParseSize(string(s)) // was checked
	return n
}

func (s Size) check() error {
	if s == "" || s == None {
		return nil
	}
	_, err := api.ParseSize(string(s))
	return err
}

// Span is a length of time as people write it, for example 90d.
type Span string

// Duration is the span, 0 where it is empty.
func (s Span) Duration() time.Duration {
	d, _ := policy.ParseSpan(string(s)) // was checked
	return d
}

func (s Span) check() error {
	_, err := policy.ParseSpan(string(s))
	return err
}

// When is a schedule in words or as a cron expression; "never" is none.
type When string

// Never is the schedule of what does not happen by itself.
const Never When = "never"

// Schedule returns the schedule in a time zone, which is never where it is empty.
func (w When) Schedule(zone string) policy.Schedule {
	s, _ := w.read(zone) // was checked
	return s
}

func (w When) read(zone string) (policy.Schedule, error) {
	if w == Never || w == "" {
		return policy.Schedule{}, nil
	}
	z, err := policy.Zone(zone)
	if err != nil {
		return policy.Schedule{}, err
	}
	return policy.ParseSchedule(string(w), z)
}
