package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// questions are asked of a daemon one after the other, and each is timed.
type questions struct {
	ask  []question
	took [][]time.Duration // by question
}

type question struct {
	name string
	ask  func(ctx context.Context, n int) error
}

// newQuestions are what somebody who watches a daemon asks.
func newQuestions(c *api.Client, vault string) *questions {
	q := &questions{ask: []question{
		{"status", func(ctx context.Context, _ int) error { _, err := c.Status(ctx, api.StatusQuery{}); return err }},
		{"jobs", func(ctx context.Context, _ int) error { _, err := c.Jobs(ctx, api.JobQuery{}); return err }},
		{"machines", func(ctx context.Context, _ int) error { _, err := c.Machines(ctx, vault); return err }},
		{"points of one", func(ctx context.Context, n int) error {
			_, err := c.Points(ctx, vault, stormName(n%stormMachines))
			return err
		}},
	}}
	q.took = make([][]time.Duration, len(q.ask))
	return q
}

// run asks, with a pause between, until ctx ends.
func (q *questions) run(ctx context.Context) error {
	for n := 0; ; n++ {
		i := n % len(q.ask)
		began := time.Now()
		if err := q.ask[i].ask(ctx, n); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("ask for %s: %w", q.ask[i].name, err)
		}
		q.took[i] = append(q.took[i], time.Since(began))
		if pause(ctx, 25*time.Millisecond) != nil {
			return nil
		}
	}
}

// figures adds the 99th percentile of each question, and of all.
func (q *questions) figures(t *table, group string) {
	var all []time.Duration
	for i, took := range q.took {
		t.alone(group, fmt.Sprintf("ask for %s, %d times, p99", q.ask[i].name, len(took)), "ms", p99(took), noTarget)
		all = append(all, took...)
	}
	t.alone(group, "interface, p99", "ms", p99(all), atMost(50))
}

// statusAlone asks for the status of all while nothing else is done.
func statusAlone(ctx context.Context, c *api.Client, t *table, group string) error {
	const times = 300
	var took []time.Duration
	for range times {
		began := time.Now()
		if _, err := c.Status(ctx, api.StatusQuery{}); err != nil {
			return fmt.Errorf("ask for the status: %w", err)
		}
		took = append(took, time.Since(began))
		if err := pause(ctx, 25*time.Millisecond); err != nil {
			return err
		}
	}
	t.alone(group, fmt.Sprintf("ask for status alone, %d times, p99", times), "ms", p99(took), atMost(50))
	return nil
}

// p99 is in milliseconds.
func p99(of []time.Duration) float64 {
	if len(of) == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	return of[len(of)*99/100].Seconds() * 1000
}
