package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

// Usage tells what machines used of a vault, month by month.
func (s *Service) Usage(ctx context.Context, vault string, q api.UsageQuery) (u api.Usage, err error) {
	now := time.Now()
	months, err := status.Months(q.From, q.To, now)
	if err != nil {
		return u, &Invalid{err.Error()}
	}
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		f, machines, err := s.vaultFacts(ctx, v, now)
		if err == nil && f.Unread != "" {
			err = errors.New(f.Unread)
		}
		if err != nil {
			return err
		}
		if q.Machine != "" {
			m, err := FindMachine(ctx, v, q.Machine)
			if err != nil {
				return err
			}
			machines = []blockstore.Machine{m}
			f.Machines = slices.DeleteFunc(f.Machines, func(of status.MachineFacts) bool { return of.Machine.ID != string(m.ID) })
		}
		u = status.Usage(f.Vault, f.Machines, months, now)
		if !q.Exclusive {
			return nil
		}
		return addExclusive(ctx, v, machines, &u)
	})
	return u, err
}

// addExclusive adds what each machine alone takes up now.
func addExclusive(ctx context.Context, v *blockstore.Vault, machines []blockstore.Machine, u *api.Usage) error {
	points, err := v.Points(ctx)
	if err != nil {
		return err
	}
	for _, m := range machines {
		of := slices.DeleteFunc(slices.Clone(points), func(p *blockstore.Point) bool { return p.Machine != m.ID })
		sizes, err := v.Exclusive(ctx, of)
		if err != nil {
			return err
		}
		var sum int64
		for _, n := range sizes {
			sum += n
		}
		for i := range u.Months {
			for j := range u.Months[i].Machines {
				if used := &u.Months[i].Machines[j]; used.MachineID == string(m.ID) {
					used.Exclusive = &sum
				}
			}
		}
	}
	return nil
}
