package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

const (
	// grace is how long a machine may have no point at all that has no objective.
	grace = 24 * time.Hour
	// trendDays is over how many days the trend of a machine's size is told, if it has points
	// that are so old.
	trendDays = 30
	// overdue is how much later than a run was due its point may be before that is told.
	overdue = 2 * time.Hour
)

// machineStatus says how one machine is protected.
func machineStatus(m *MachineFacts, v *VaultFacts, f *Facts) api.MachineStatus {
	s := api.MachineStatus{Name: m.Machine.Name, ID: m.Machine.ID, Vault: v.Vault.Name, State: m.Machine.State, Protected: m.Machine.Protected,
		Reasons: []string{}, Warnings: []string{}, HeldUntil: m.Machine.HeldUntil, Ignored: slices.Contains(f.Ignored, m.Machine.Name)}
	if m.Policy != nil {
		s.Policy, s.Objective, s.Next = m.Policy.Name, m.Policy.RPO, m.Policy.NextRun
	}
	if m.Job != nil {
		s.Job = &api.JobBrief{ID: m.Job.ID, State: m.Job.State, Ended: m.Job.Ended, Problem: m.Job.Error}
	}
	d := &deciding{MachineStatus: &s, facts: m, now: f.Now}
	d.points(listed(m.Points))
	if d.protected(v, f) {
		d.age()
		d.job()
	}
	d.vm()
	s.AtRisk = len(s.Reasons) > 0
	return s
}

// deciding is a status of a machine that is being made.
type deciding struct {
	*api.MachineStatus
	facts *MachineFacts
	now   time.Time
}

func (d *deciding) risk(format string, args ...any) {
	d.Reasons = append(d.Reasons, fmt.Sprintf(format, args...))
}

func (d *deciding) warn(format string, args ...any) {
	d.Warnings = append(d.Warnings, fmt.Sprintf(format, args...))
}

// points finds the newest points, and what they say.
func (d *deciding) points(points []Point) {
	d.Points = len(points)
	if len(points) == 0 {
		return
	}
	flaws := d.facts.flaws(points)
	last := len(points) - 1
	d.Last = brief(&points[last], flaws[last])
	for i := last; i >= 0 && d.Good == nil; i-- {
		if flaws[i] == "" {
			d.Good = brief(&points[i], "")
			age := seconds(d.now.Sub(points[i].Time))
			d.Age = &age
		}
	}
	for i := range points {
		d.Stored += points[i].Sizes.Stored
	}
	newest := &points[last]
	d.Protects = newest.Sizes.Protected
	d.trend(points)
	if flaws[last] != "" {
		d.warn("its newest point is not good: %s", flaws[last])
	} else if weaker(newest.Reached, newest.Asked) {
		d.warn("its newest point is %s, %s was asked for%s", newest.Reached, newest.Asked, because(newest.Reason))
	}
}

// trend compares the newest point with the oldest one of the last month, or the newest before.
func (d *deciding) trend(points []Point) {
	newest := &points[len(points)-1]
	from := newest.Time.AddDate(0, 0, -trendDays)
	i := slices.IndexFunc(points, func(p Point) bool { return !p.Time.Before(from) })
	if i > 0 && from.Sub(points[i-1].Time) < points[i].Time.Sub(from) {
		i-- // nearer
	}
	if i < 0 || i == len(points)-1 {
		return
	}
	days := newest.Time.Sub(points[i].Time).Hours() / 24
	if days < 1 {
		return
	}
	d.Trend, d.TrendDays = newest.Sizes.Protected-points[i].Sizes.Protected, int(days+.5)
}

// protected decides whether the machine is protected by a policy, and tells whether somebody
// minds how old its points are.
func (d *deciding) protected(v *VaultFacts, f *Facts) bool {
	why := ""
	switch {
	case d.facts.Ambiguous != "":
		d.risk("policies %s claim it alike, so none is obeyed", d.facts.Ambiguous)
		return true
	case d.facts.Policy != nil && d.facts.Machine.Protected:
		return true
	case d.facts.Policy != nil:
		why = "policy " + d.Policy + " cannot back it up, since nothing is said of its VM: `holdfast protect`"
	case v.Policies == 0: // backups are made by hand, and nobody promised anything
		if d.facts.Machine.Protected {
			d.warn("no policy says when it is backed up")
		}
		return true
	default:
		why = "no policy covers it"
	}
	since := d.since(f.Before)
	d.Unprotected = maybe(since)
	if d.Ignored {
		return false
	}
	d.risk("UNPROTECTED since %s: %s", show(since), why)
	return false
}

// since tells when a machine fell out of its policies, as far as that was seen.
func (d *deciding) since(before *api.Status) time.Time {
	if before != nil {
		for _, old := range before.Machines {
			switch {
			case old.ID != d.ID || old.Vault != d.Vault:
			case old.Unprotected != nil:
				return old.Unprotected.Time
			default:
				return d.now // it was not, then
			}
		}
	}
	if d.Last != nil {
		return d.Last.Time.Time
	}
	return d.now
}

// age holds the newest good point against the objective.
func (d *deciding) age() {
	objective := time.Duration(d.Objective) * time.Second
	switch {
	case d.Good == nil:
		began := d.now
		if p := d.facts.Machine.Protection; p != nil {
			began = p.Since.Time
		}
		if len(d.facts.Points) > 0 {
			began = earlier(began, d.facts.Points[0].Time)
		}
		allowed := objective
		if allowed == 0 {
			allowed = grace
		}
		if d.now.Sub(began) > allowed {
			d.Missed = d.Objective > 0
			d.risk("it has no good point")
		} else {
			d.warn("it has no good point yet")
		}
	case d.Objective > 0 && *d.Age > d.Objective:
		d.Missed = true
		d.risk("%s", late(*d.Age, d.Objective))
	case !d.facts.Due.IsZero() && d.now.Sub(d.facts.Due) > overdue && d.Last.Time.Before(d.facts.Due):
		d.warn("a run was due at %s, and made no point", show(d.facts.Due))
	}
}

func late(age, objective int64) string {
	return fmt.Sprintf("RPO missed: its newest good point is %s old, at most %s are allowed", Span(age), Span(objective))
}

// job tells of a last run that did not go well. Where no objective says how long that may
// be so, it is a risk of its own.
func (d *deciding) job() {
	j := d.facts.Job
	if j == nil || j.State == api.JobCompleted || d.Last != nil && j.Ended != nil && d.Last.Time.After(j.Ended.Time) {
		return
	}
	if j.State == api.JobWarnings {
		if n := len(j.Warnings); n > 0 {
			d.warn("its last backup warned: %s%s", j.Warnings[0], more(n-1))
		}
		return
	}
	words := "its last backup was " + j.State
	if j.State == api.JobFailed {
		words = "its last backup failed"
	}
	if j.Error != nil {
		words += ": " + j.Error.Detail
	}
	held := j.Error != nil && j.Error.Kind == api.KindMachineHeld // somebody wanted that
	if j.State == api.JobFailed && !held && d.Objective == 0 && d.facts.Policy != nil {
		d.risk("%s", words)
	} else {
		d.warn("%s", words)
	}
}

// vm tells what the host says of the machine's VM.
func (d *deciding) vm() {
	if d.State == "GONE (migrated?)" || d.State == "ANOTHER VM" || d.State == "does not answer" {
		d.warn("VM: %s", d.State)
	}
	if d.HeldUntil != nil && d.HeldUntil.After(d.now) {
		d.warn("HELD until %s", show(d.HeldUntil.Time))
	}
	if d.facts.VM == nil || d.facts.VM.Unclear != "" || d.Last == nil || d.facts.Machine.Protection == nil {
		return
	}
	newest := listed(d.facts.Points)[d.Points-1]
	same := func(p policy.Disk, q api.VMDisk) bool {
		return p.Name == q.Name || p.Source != "" && p.Source == q.Source
	}
	var fresh []string
	for _, q := range d.facts.VM.Disks {
		excluded := q.LeftOut != "" || slices.Contains(d.facts.Machine.Protection.Exclude, q.Name)
		if !excluded && !slices.ContainsFunc(newest.Disks, func(p policy.Disk) bool { return same(p, q) }) {
			fresh = append(fresh, q.Name)
		}
	}
	var gone []string
	for _, p := range newest.Disks {
		if !slices.ContainsFunc(d.facts.VM.Disks, func(q api.VMDisk) bool { return same(p, q) }) {
			gone = append(gone, p.Name)
		}
	}
	if len(fresh) > 0 {
		d.warn("disk %s of the VM is in no point yet", strings.Join(fresh, ", "))
	}
	if len(gone) > 0 {
		d.warn("disk %s is missing since the last point", strings.Join(gone, ", "))
	}
}

func brief(p *Point, flaw string) *api.PointBrief {
	return &api.PointBrief{ID: p.ID, Time: api.At(p.Time), Consistency: string(p.Reached), Asked: string(p.Asked), Reason: p.Reason,
		Mode: p.Mode, ModeReason: p.ModeReason, Flaw: flaw}
}

func weaker(reached, asked policy.Consistency) bool {
	order := []policy.Consistency{"", policy.Crash, policy.Filesystem, policy.Application}
	return slices.Index(order, reached) < slices.Index(order, asked)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" (and %d more)", n)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func show(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
