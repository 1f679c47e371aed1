package service

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

var _ api.Operations = (*Service)(nil)

// ChangePoints is part of [api.Changing].
func (s *Service) ChangePoints(ctx context.Context, vault string, r api.PointsRequest) (changes []api.PointChange, err error) {
	err = s.vaults.Own(ctx, vault, ToForget, func(o *blockstore.Owner) (err error) {
		changes, err = changePoints(ctx, o, r, time.Now())
		return err
	})
	return changes, err
}

// GiveUpPoint is part of [api.Changing].
func (s *Service) GiveUpPoint(ctx context.Context, vault string, ref api.PointRef) (c api.PointChange, err error) {
	err = s.vaults.Own(ctx, vault, ToForget, func(o *blockstore.Owner) (err error) {
		c, err = giveUpPoint(ctx, o, ref)
		return err
	})
	return c, err
}

// Protect is part of [api.Changing].
func (s *Service) Protect(ctx context.Context, vault string, r api.ProtectRequest) (api.Protect, error) {
	return protect(ctx, r, func(do func(*blockstore.Owner) error) error { return s.vaults.Own(ctx, vault, ToChange, do) })
}

// Unprotect is part of [api.Changing].
func (s *Service) Unprotect(ctx context.Context, vault, machine string, r api.UnprotectRequest) (u api.Unprotect, err error) {
	if c, ok := api.CallerOf(ctx); ok && !c.Trusted && r.Scratch != (api.Scratch{}) {
		return u, &NotAllowed{"unprotect a machine: a scratch folder may be named by who has the daemon's own rights alone", "leave it out, or run the command as root"}
	}
	err = s.vaults.Own(ctx, vault, ToChange, func(o *blockstore.Owner) (err error) {
		u, err = unprotect(ctx, o, machine, r)
		return err
	})
	return u, err
}

// RenameMachine is part of [api.Changing].
func (s *Service) RenameMachine(ctx context.Context, vault, machine, to string) (m api.Machine, err error) {
	err = s.vaults.Own(ctx, vault, ToChange, func(o *blockstore.Owner) (err error) {
		m, err = renameMachine(ctx, o, machine, to)
		return err
	})
	return m, err
}

// HoldMachine is part of [api.Changing]. A machine "" is all of them.
func (s *Service) HoldMachine(ctx context.Context, vault, machine string, until api.Time) (h api.MachineHold, err error) {
	left := time.Until(until.Time)
	if left <= 0 || left > blockstore.MaxHold+time.Minute {
		return h, invalidf("a hold ends in the future, and in at most %v", blockstore.MaxHold)
	}
	err = s.holding(ctx, vault, machine, &h, func(v *blockstore.Vault, id blockstore.MachineID) error {
		h.Until = &until
		return v.HoldMachine(id, until.Time)
	})
	return h, err
}

// ReleaseMachine is part of [api.Changing]. A machine "" is what was held for all of them.
func (s *Service) ReleaseMachine(ctx context.Context, vault, machine string) (h api.MachineHold, err error) {
	err = s.holding(ctx, vault, machine, &h, func(v *blockstore.Vault, id blockstore.MachineID) (err error) {
		h.Released, err = v.ReleaseMachine(id)
		return err
	})
	return h, err
}

// holding finds the machine of a hold. Whoever reads a vault may hold its machines: nothing is written
// that needs an owner.
func (s *Service) holding(ctx context.Context, vault, machine string, h *api.MachineHold, do func(*blockstore.Vault, blockstore.MachineID) error) error {
	h.Machines = []string{}
	return s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		if machine == "" {
			return do(v, "")
		}
		m, err := FindMachine(ctx, v, machine)
		if err != nil {
			return err
		}
		h.Machines = append(h.Machines, m.Name)
		return do(v, m.ID)
	})
}

// SetPolicies is part of [api.Changing].
func (s *Service) SetPolicies(ctx context.Context, vault string, r api.PoliciesRequest) (changes []api.PolicyChange, err error) {
	if r.DryRun {
		err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) (err error) {
			changes, err = setPolicies(ctx, v, nil, r)
			return err
		})
		return changes, err
	}
	err = s.vaults.Own(ctx, vault, ToChange, func(o *blockstore.Owner) (err error) {
		changes, err = setPolicies(ctx, o.Vault, o, r)
		return err
	})
	return changes, err
}

// RemovePolicy is part of [api.Changing].
func (s *Service) RemovePolicy(ctx context.Context, vault, name string) error {
	return s.vaults.Own(ctx, vault, ToChange, func(o *blockstore.Owner) error {
		if err := o.RemovePolicy(ctx, name); err != nil {
			return fmt.Errorf("remove policy %s: %w", name, err)
		}
		return nil
	})
}
