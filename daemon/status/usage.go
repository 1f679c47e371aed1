package status

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// instance is how much protected data one protected instance has at most.
const instance = 500 << 30

// MaxMonths is how many months a report of usage spans at most.
const MaxMonths = 240

// Months reads the months from one to another, such as 2026-11, both included. Without the
// first, it is the month of now, without the second, the first alone.
func Months(from, to string, now time.Time) (months []time.Time, err error) {
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	if from != "" {
		if first, err = time.Parse("2006-01", from); err != nil {
			return nil, fmt.Errorf("month %.20q: write, for example, 2026-11", from)
		}
	}
	last := first
	if to != "" {
		if last, err = time.Parse("2006-01", to); err != nil {
			return nil, fmt.Errorf("month %.20q: write, for example, 2026-11", to)
		}
	}
	if last.Before(first) {
		return nil, fmt.Errorf("month %s is before %s", last.Format("2006-01"), first.Format("2006-01"))
	}
	for m := first; !m.After(last); m = m.AddDate(0, 1, 0) {
		if months = append(months, m); len(months) > MaxMonths {
			return nil, fmt.Errorf("from %s to %s are more than %d months", first.Format("2006-01"), last.Format("2006-01"), MaxMonths)
		}
	}
	return months, nil
}

// Usage says what machines used in some months, each given by its first instant, by the rule of [api.Usage].
func Usage(vault api.Vault, machines []MachineFacts, months []time.Time, now time.Time) api.Usage {
	u := api.Usage{Vault: vault, Time: api.At(now), Months: []api.MonthUsage{}}
	for _, from := range months {
		end := from.AddDate(0, 1, 0)
		m := api.MonthUsage{Month: from.Format("2006-01"), Partial: now.Before(end), Machines: []api.MachineUsage{}}
		if m.Partial {
			end = now
		}
		for i := range machines {
			if used, ok := usageOf(&machines[i], from, end); ok {
				m.Machines = append(m.Machines, used)
				m.Instances += used.Instances
				m.Protected += used.Protected
				m.Stored += used.Stored
			}
		}
		slices.SortFunc(m.Machines, func(a, b api.MachineUsage) int {
			return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.MachineID, b.MachineID))
		})
		u.Months = append(u.Months, m)
	}
	return u
}

// usageOf is what a machine used between two instants; false where it had no point.
func usageOf(m *MachineFacts, from, end time.Time) (u api.MachineUsage, ok bool) {
	u = api.MachineUsage{Machine: m.Machine.Name, MachineID: m.Machine.ID}
	var before *Point // the newest from before that was there when the time began
	for i := range m.Points {
		p := &m.Points[i]
		if !p.Committed.Before(end) || !p.Deleted.IsZero() && p.Deleted.Before(from) {
			continue
		}
		if ok = true; p.Deleted.IsZero() || !p.Deleted.Before(end) {
			u.Kept++
		}
		if p.Committed.Before(from) {
			before = p
			continue
		}
		u.Points++
		u.Stored += p.Sizes.Stored
		u.Protected = max(u.Protected, p.Sizes.Protected)
	}
	if u.Points == 0 && before != nil {
		u.Protected = before.Sizes.Protected
	}
	if ok {
		u.Instances = int(max(1, (u.Protected+instance-1)/instance))
	}
	return u, ok
}
