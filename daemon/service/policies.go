package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

// Timetable returns when the backups of a policy begin on a host, which any
// text names that stays the same.
func Timetable(p blockstore.Policy, host string) (policy.Timetable, error) {
	zone, err := policy.Zone(p.Zone)
	if err != nil {
		return policy.Timetable{}, fmt.Errorf("policy %s: %w", p.Name, err)
	}
	t := policy.Timetable{Offset: policy.Jitter(time.Duration(p.Jitter)*time.Second, host+" "+p.Name)}
	var errs error
	if p.Schedule != "" {
		t.Schedule, errs = policy.ParseSchedule(p.Schedule, zone)
	}
	if t.Window, err = policy.ParseWindow(p.Window, zone); errors.Join(errs, err) != nil {
		return policy.Timetable{}, fmt.Errorf("policy %s: %w", p.Name, errors.Join(errs, err))
	}
	return t, nil
}

// RulesOf returns by which rules a policy keeps points of a machine.
func RulesOf(p blockstore.Policy, m blockstore.Machine) (policy.Rules, error) {
	zone, err := policy.Zone(p.Zone)
	if err != nil {
		return policy.Rules{}, fmt.Errorf("policy %s: %w", p.Name, err)
	}
	r := policy.Rules{Retention: policy.Retention(p.Keep), Zone: zone, Consistency: policy.Consistency(p.Consistency)}
	if m.Protected != nil {
		r.Exclude = m.Protected.Exclude
	}
	return r, r.Retention.Check()
}

// ruleWords say by which rules points are kept; they tell whether those were changed.
func ruleWords(r policy.Rules) string {
	words := fmt.Sprintf("keep %s, days of %s", r.Retention, r.Zone)
	if r.Consistency != "" {
		words += fmt.Sprintf(", good ones are %s", r.Consistency)
	}
	return words
}

// PolicyFor returns the policy of a machine; ok is false where it has none.
func PolicyFor(m blockstore.Machine, policies []blockstore.Policy) (p blockstore.Policy, ok bool, err error) {
	claims := map[string]policy.Claim{}
	for _, p := range policies {
		claims[p.Name] = policy.Claim{Globs: p.Machines, Tag: p.Tag}
	}
	var tags []string
	if m.Protected != nil {
		tags = m.Protected.Tags
	}
	name, err := policy.Choose(m.Name, tags, claims)
	for _, p := range policies {
		if err == nil && name != "" && p.Name == name {
			return p, true, nil
		}
	}
	return blockstore.Policy{}, false, err
}

// DescribePolicy returns p as programs see it; the machines are those of its vault.
func DescribePolicy(p blockstore.Policy, policies []blockstore.Policy, machines []blockstore.Machine, host string, now time.Time) api.Policy {
	t := TextOf(p)
	a := api.Policy{Name: p.Name, ID: string(p.ID), Generation: p.Generation, Changed: api.At(p.Changed), Globs: append([]string{}, p.Machines...), Machines: []string{},
		Schedule: p.Schedule, Timezone: p.Zone, Window: p.Window, Jitter: p.Jitter, MaxDuration: p.Limit, Consistency: string(p.Consistency), Otherwise: t.Otherwise,
		Keep: api.Keep(p.Keep), TrashDays: p.TrashDays, RPO: p.RPO,
		Tag: p.Tag, Retries: Retries(p), Priority: p.Priority, ReadRate: p.ReadRate, WriteRate: p.WriteRate, Verify: VerifyPercent(p)}
	for _, m := range machines {
		if q, ok, _ := PolicyFor(m, policies); ok && q.Name == p.Name {
			a.Machines = append(a.Machines, m.Name)
		}
	}
	if t, err := Timetable(p, host); err == nil {
		a.NextRun = maybe(t.Next(now))
	}
	return a
}

// PreviewPolicy plays a policy through for some days from a time on.
func PreviewPolicy(p blockstore.Policy, host string, from time.Time, days int) (api.PolicyPreview, error) {
	t, err := Timetable(p, host)
	if err != nil {
		return api.PolicyPreview{}, err
	}
	r, err := RulesOf(p, blockstore.Machine{})
	if err != nil {
		return api.PolicyPreview{}, fmt.Errorf("policy %s: %w", p.Name, err)
	}
	s := policy.Simulate(t, r, from, days)
	a := api.PolicyPreview{Days: days, Runs: s.Runs, NextRuns: []api.Time{}, Longest: int64(s.Longest / time.Second), Pruned: s.Pruned, Kept: make([]api.PreviewPoint, 0, len(s.Kept))}
	for next := t.Next(from); len(a.NextRuns) < 5 && !next.IsZero(); next = t.Next(next) {
		a.NextRuns = append(a.NextRuns, api.At(next))
	}
	for _, n := range s.Days {
		a.Most = max(a.Most, n)
	}
	for i, q := range s.Kept {
		a.Kept = append(a.Kept, api.PreviewPoint{Time: api.At(q.Time), Why: append([]string{}, s.Why[i].Why...)})
	}
	return a, nil
}

// ApplyPolicies says what making policies those of a vault changes, and does it
// where o is not nil. Others are left as they are, or removed.
func ApplyPolicies(ctx context.Context, v *blockstore.Vault, o *blockstore.Owner, policies []blockstore.Policy, removeOthers bool) ([]api.PolicyChange, error) {
	have, err := v.Policies(ctx)
	if err != nil {
		return nil, err
	}
	changes := []api.PolicyChange{}
	there := map[string]blockstore.Policy{}
	for _, p := range have {
		there[p.Name] = p
	}
	for _, p := range policies {
		old, known := there[p.Name]
		delete(there, p.Name)
		c := api.PolicyChange{Name: p.Name, Change: "added", Diff: append([]string{}, diffPolicy(old, p)...), Dry: o == nil}
		if known {
			if c.Change = "changed"; len(c.Diff) == 0 {
				c.Change = "same"
			}
		}
		if o != nil && c.Change != "same" {
			if _, err := o.SetPolicy(ctx, p); err != nil {
				return changes, err
			}
		}
		changes = append(changes, c)
	}
	for _, p := range have {
		if _, left := there[p.Name]; !left || !removeOthers {
			continue
		}
		if o != nil {
			if err := o.RemovePolicy(ctx, p.Name); err != nil {
				return changes, err
			}
		}
		changes = append(changes, api.PolicyChange{Name: p.Name, Change: "removed", Diff: []string{}, Dry: o == nil})
	}
	return changes, nil
}
