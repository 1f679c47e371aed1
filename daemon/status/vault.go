package status

import (
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// How soon a vault is full for that to be told, and how long it may go without care.
const (
	fullSoon   = 30 * 24 * time.Hour // a warning
	fullNow    = 7 * 24 * time.Hour  // a risk
	checkEvery = 35 * 24 * time.Hour
	sweepEvery = 8 * 24 * time.Hour
)

// vaultStatus says how a vault is.
func vaultStatus(v *VaultFacts, f *Facts) api.VaultStatus {
	now := f.Now
	s := api.VaultStatus{Vault: v.Vault, Reasons: []string{}, Warnings: []string{}, Trash: v.Trash, Damaged: v.Damaged, Harmed: v.Harmed,
		Unique: v.Unique, Stored: v.Packs, Free: v.Free, Size: v.Size, Floor: v.Floor, Clock: v.Clock,
		Sweep: maybe(v.Sweep), Check: maybe(v.Check), HeldUntil: maybe(v.HeldUntil), Policies: v.Policies}
	n := 0
	for i := range v.Machines {
		n += len(v.Machines[i].Points)
	}
	all := make([]Point, 0, n)
	for i := range v.Machines {
		points := listed(v.Machines[i].Points)
		if len(points) > 0 {
			s.Machines++
		}
		if v.Machines[i].Machine.Protected {
			s.Watched++
		}
		s.Points += len(points)
		for j := range points {
			s.Logical += points[j].Sizes.Logical
			s.Protects += points[j].Sizes.Protected
		}
		all = append(all, v.Machines[i].Points...)
	}
	s.Dedup, s.Compress = ratio(s.Protects, s.Unique), ratio(s.Unique, s.Stored)
	if v.Size > 0 {
		s.Forecast = forecast(all, v.Used, v.Free-v.Floor, now)
	}
	s.Reasons = vaultRisks(v, &s, now)
	s.Warnings = vaultWarnings(v, &s, now)
	if why := unprotected(v, &s, f.Ignored); why != "" {
		s.Warnings = append([]string{why}, s.Warnings...)
	}
	s.AtRisk = len(s.Reasons) > 0
	return s
}

func ratio(a, b int64) float64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	return float64(int64(float64(a)/float64(b)*100+.5)) / 100
}

// unprotected says of a vault for which nothing is ever backed up by itself that it is so; "" where that is not so, or
// somebody minds none of its machines. What policies do not cover of a vault that has some, its machines say.
func unprotected(v *VaultFacts, s *api.VaultStatus, ignored []string) string {
	const next = ": `holdfast discover` lists the VMs of this host and how to protect each"
	switch {
	case s.Watched > 0:
	case len(v.Machines) == 0 && v.Policies == 0:
		return "nothing is protected yet" + next
	case len(v.Machines) == 0:
		return "nothing is protected yet, since its policies cover no machine" + next
	case v.Policies == 0 && !slices.ContainsFunc(v.Machines, func(m MachineFacts) bool { return !slices.Contains(ignored, m.Machine.Name) }):
	case v.Policies == 0:
		return "nothing is protected: its points were made by hand, and nobody says when there are to be more" + next
	}
	return ""
}

func vaultRisks(v *VaultFacts, s *api.VaultStatus, now time.Time) []string {
	why := []string{}
	if v.Unowned != "" {
		why = append(why, "nothing can be stored in it: "+v.Unowned)
	}
	if v.Unread != "" {
		why = append(why, v.Unread)
	}
	switch f := s.Forecast; {
	case v.Size > 0 && v.Free < v.Floor:
		why = append(why, fmt.Sprintf("it is full: %s free, no backup begins below %s", api.FormatSize(v.Free), api.FormatSize(v.Floor)))
	case f != nil && f.Full != nil && f.Full.Sub(now) < fullNow:
		why = append(why, fmt.Sprintf("it is full about %s", day(f.Full)))
	}
	switch {
	case v.Harmed > 0:
		why = append(why, fmt.Sprintf("%d points are damaged (`holdfast check --data` lists what)", v.Harmed))
	case v.CheckProblem != "":
		why = append(why, "the last check: "+v.CheckProblem)
	}
	if v.Clock != "" {
		why = append(why, "nothing is removed: "+v.Clock)
	}
	return why
}

func vaultWarnings(v *VaultFacts, s *api.VaultStatus, now time.Time) []string {
	all := []string{}
	if f := s.Forecast; v.Free >= v.Floor && f != nil {
		switch soon := f.Early; {
		case f.Full != nil && f.Full.Sub(now) < fullNow: // a risk
		case soon != nil && soon.Sub(now) < fullSoon:
			all = append(all, fmt.Sprintf("it may be full as early as %s", day(soon)))
		}
	}
	if v.Waits != "" {
		all = append(all, "who is to store in it waits: "+v.Waits)
	}
	if v.SweepProblem != "" {
		all = append(all, "the last sweep: "+v.SweepProblem)
	} else if !v.Sweep.IsZero() && now.Sub(v.Sweep) > sweepEvery {
		all = append(all, "it was last swept "+Span(seconds(now.Sub(v.Sweep)))+" ago")
	}
	if !v.Check.IsZero() && now.Sub(v.Check) > checkEvery {
		all = append(all, "it was last checked "+Span(seconds(now.Sub(v.Check)))+" ago")
	}
	if v.Damaged > 0 && v.Harmed == 0 {
		all = append(all, fmt.Sprintf("%d pieces are damaged that no point needs", v.Damaged))
	}
	if v.HeldUntil.After(now) {
		all = append(all, "nothing is removed while it is copied: HELD until "+show(v.HeldUntil))
	}
	return all
}

func day(t *api.Time) string { return t.UTC().Format(time.DateOnly) }
