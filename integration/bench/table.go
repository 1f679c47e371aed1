package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// figure is one line of the result.
type figure struct {
	Group   string  `json:"group"`
	What    string  `json:"what"`
	Unit    string  `json:"unit"`
	Ours    float64 `json:"ours"`
	Peer    float64 `json:"peer,omitempty"`
	With    string  `json:"with,omitempty"`   // the peer
	Ratio   float64 `json:"ratio,omitempty"`  // ours to the peer's
	Target  string  `json:"target,omitempty"` // of the ratio, or of ours where there is no peer
	Reached *bool   `json:"reached,omitempty"`
}

// target is what a figure should be: at most or at least a bound.
type target struct {
	bound float64
	least bool
}

// noTarget asks for nothing: the figure is there for comparison.
var noTarget target

func atMost(bound float64) target  { return target{bound: bound} }
func atLeast(bound float64) target { return target{bound: bound, least: true} }

func (t target) reached(v float64) bool {
	if t.least {
		return v >= t.bound
	}
	return v <= t.bound
}

func (t target) in(unit string) string {
	sign := "<="
	if t.least {
		sign = ">="
	}
	return fmt.Sprintf("%s %s", sign, show(t.bound, unit))
}

// table gathers figures.
type table struct{ figures []figure }

// compare adds a figure with a peer's; the target is of the ratio.
func (t *table) compare(group, what, unit string, ours, peer float64, with string, goal target) {
	if peer == 0 { // the peer is not installed
		t.alone(group, what, unit, ours, noTarget)
		return
	}
	f := figure{Group: group, What: what, Unit: unit, Ours: ours, Peer: peer, With: with, Ratio: ours / peer}
	if goal.bound != 0 {
		reached := goal.reached(f.Ratio)
		f.Target, f.Reached = goal.in(""), &reached
	}
	t.figures = append(t.figures, f)
}

// alone adds a figure of ours with a target of its own.
func (t *table) alone(group, what, unit string, ours float64, goal target) {
	f := figure{Group: group, What: what, Unit: unit, Ours: ours}
	if goal.bound != 0 {
		reached := goal.reached(ours)
		f.Target, f.Reached = goal.in(unit), &reached
	}
	t.figures = append(t.figures, f)
}

// memory adds the peak anonymous memory of what was measured.
func (t *table) memory(group, what string, bytes int64) {
	t.alone(group, what+", peak RssAnon", "MiB", float64(bytes)/(1<<20), atMost(256))
}

// costs adds wall and CPU seconds beside a peer's.
func (t *table) costs(group, what string, ours, peer cost, with string, wall, cpu target) {
	t.compare(group, what+", wall", "s", ours.Wall, peer.Wall, with, wall)
	t.compare(group, what+", CPU", "s", ours.CPU, peer.CPU, with, cpu)
}

func (t *table) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(t.figures)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	group := ""
	missed := 0
	for _, f := range t.figures {
		if f.Group != group {
			group = f.Group
			fmt.Fprintf(tw, "\n%s\tours\tpeer\t\tratio\ttarget\t\n", group)
		}
		peer, r, reached := "", "", ""
		if f.With != "" {
			peer, r = show(f.Peer, f.Unit), fmt.Sprintf("%.2f", f.Ratio)
		}
		if f.Reached != nil {
			reached = "reached"
			if !*f.Reached {
				reached = "NOT REACHED"
				missed++
			}
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.What, show(f.Ours, f.Unit), peer, f.With, r, f.Target, reached)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d figures, %d targets not reached\n", len(t.figures), missed)
	return err
}

func show(v float64, unit string) string {
	switch {
	case unit == "":
		return fmt.Sprintf("%.2f", v)
	case unit == "/s" || unit == "MB/s" || v >= 1000:
		return fmt.Sprintf("%.0f %s", v, unit)
	case unit == "s":
		return fmt.Sprintf("%.2f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }
