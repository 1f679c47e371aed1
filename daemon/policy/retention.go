package policy

import (
	"fmt"
	"slices"
	"time"
)

// Rules decide which points of a machine are kept.
type Rules struct {
	Retention   Retention
	Zone        *time.Location // that days begin in; nil: UTC
	Consistency Consistency    // that a good point has reached; empty: any
	Exclude     []string       // names of disks that a good point may lack
}

// Verdict is what becomes of one point.
type Verdict struct {
	Keep bool
	Flaw string   // why the point is not good; empty: it is
	Why  []string // it is kept, or goes
}

// Decide returns what becomes of the points of one machine, which are given oldest
// first by their sequence, whatever their times say. Now is needed for locks alone.
//
// Each rule keeps the newest good point of as many periods as it counts. A period among the
// newest ones that has no good point keeps its newest one; it does not count against periods that do.
func (r Rules) Decide(points []Point, now time.Time) []Verdict {
	verdicts := make([]Verdict, len(points))
	for i, flaw := range r.flaws(points) {
		verdicts[i].Flaw = flaw
	}
	periods := r.Retention.periods()
	if len(periods) == 0 {
		for i := range verdicts {
			verdicts[i].keep("there is no retention")
		}
		return verdicts
	}
	for _, p := range periods {
		r.apply(p, points, verdicts)
	}
	if n := len(points); n > 0 {
		verdicts[n-1].keep("the newest")
	}
	for i := range slices.Backward(points) {
		if verdicts[i].Flaw == "" {
			verdicts[i].keep("the newest good point")
			break
		}
	}
	for i := range points {
		if now.Before(points[i].Locked) {
			verdicts[i].keep("locked until " + points[i].Locked.In(r.zone()).Format(time.DateOnly))
		}
	}
	return verdicts
}

// keep has a point kept. What spoke for its going is not of interest any more.
func (v *Verdict) keep(why string) {
	if !v.Keep {
		v.Keep, v.Why = true, nil
	}
	v.Why = append(v.Why, why)
}

// goes says what a rule thinks of a point that it does not keep.
func (v *Verdict) goes(why string) {
	if !v.Keep {
		v.Why = append(v.Why, why)
	}
}

// apply lets one rule say what it thinks of every point, newest first.
func (r Rules) apply(p period, points []Point, verdicts []Verdict) {
	names := make([]string, len(points))
	hasGood := map[string]bool{}
	for i := range points {
		if names[i] = fmt.Sprintf("%d", i); p.of != nil {
			names[i] = p.of(points[i].Time.In(r.zone()))
		}
		hasGood[names[i]] = hasGood[names[i]] || verdicts[i].Flaw == ""
	}
	good, met := map[string]bool{}, map[string]bool{} // periods that keep a good point; that have points
	for i := range slices.Backward(points) {
		v, name := &verdicts[i], names[i]
		first := !met[name]
		met[name] = true
		switch {
		case v.Flaw == "" && !good[name] && len(good) < p.count:
			good[name] = true
			v.keep(p.words(len(good), name))
		case v.Flaw != "" && first && !hasGood[name] && len(met) <= p.count:
			v.keep(p.words(len(met), name) + ", where no point is good")
		case p.of != nil && (good[name] || !first):
			v.goes(fmt.Sprintf("%s: %s has a newer point", p.name, name))
		case p.of != nil && v.Flaw != "" && hasGood[name]:
			v.goes(fmt.Sprintf("%s: %s has a good point", p.name, name))
		default:
			v.goes(fmt.Sprintf("%s: past the %d that are kept", p.name, p.count))
		}
	}
}

// words names the place of a period in its rule.
func (p period) words(n int, name string) string {
	if p.of == nil {
		return fmt.Sprintf("%s %d/%d", p.name, n, p.count)
	}
	return fmt.Sprintf("%s %d/%d (%s)", p.name, n, p.count, name)
}

func (r Rules) zone() *time.Location {
	if r.Zone == nil {
		return time.UTC
	}
	return r.Zone
}
