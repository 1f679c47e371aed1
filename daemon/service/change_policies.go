package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// setPolicies makes policies those of a vault. The owner is nil where it is only asked what would change.
func setPolicies(ctx context.Context, v *blockstore.Vault, o *blockstore.Owner, r api.PoliciesRequest) ([]api.PolicyChange, error) {
	policies := make([]blockstore.Policy, 0, len(r.Policies))
	var errs []error
	seen := map[string]bool{}
	for _, spec := range r.Policies {
		p, err := policyOf(spec)
		if err == nil && seen[p.Name] {
			err = errors.New("it is there twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("policy %.80s: %w", spec.Name, err))
		}
		seen[p.Name] = true
		policies = append(policies, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, invalidf("%s", err.Error())
	}
	return ApplyPolicies(ctx, v, o, policies, r.RemoveOthers)
}

// policyOf returns the policy that is written so.
func policyOf(s api.PolicySpec) (blockstore.Policy, error) {
	return PolicyText{Machines: s.Machines, Schedule: s.Schedule, Timezone: s.Timezone, Window: s.Window, Jitter: s.Jitter, MaxDuration: s.MaxDuration,
		Consistency: s.Consistency, Otherwise: s.Otherwise, Keep: KeepText(s.Keep), TrashDays: s.TrashDays, RPO: s.RPO,
		LibvirtTag: s.LibvirtTag, Retries: s.Retries, Priority: s.Priority, ReadRate: s.ReadRate, WriteRate: s.WriteRate, Verify: s.Verify}.Policy(s.Name)
}

// SpecOf writes a policy as a person would.
func SpecOf(p blockstore.Policy) api.PolicySpec {
	t := TextOf(p)
	return api.PolicySpec{Name: p.Name, Machines: t.Machines, Schedule: t.Schedule, Timezone: t.Timezone, Window: t.Window, Jitter: t.Jitter, MaxDuration: t.MaxDuration,
		Consistency: t.Consistency, Otherwise: t.Otherwise, Keep: api.Keep(t.Keep), TrashDays: t.TrashDays, RPO: t.RPO,
		LibvirtTag: t.LibvirtTag, Retries: t.Retries, Priority: t.Priority, ReadRate: t.ReadRate, WriteRate: t.WriteRate, Verify: t.Verify}
}
