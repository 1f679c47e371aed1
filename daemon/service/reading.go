package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Where records cannot be read, the methods in this file return the rest beside the error.

// Vaults returns the vaults with what they hold. Adding up their files takes a while.
func (s *Service) Vaults(ctx context.Context) ([]api.VaultInfo, error) {
	known, err := s.vaults.List(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]api.VaultInfo, 0, len(known))
	var unread error
	for _, k := range known {
		err := s.vaults.Read(ctx, k.Key(), func(v *blockstore.Vault) error {
			info, err := DescribeVaultInfo(ctx, v, time.Now())
			if k.Name != "" {
				info.Name = k.Name
			}
			all = append(all, info)
			return err
		})
		unread = errors.Join(unread, err)
	}
	return all, unread
}

// DescribeVaultInfo says what a vault is and how much lies in it.
func DescribeVaultInfo(ctx context.Context, v *blockstore.Vault, now time.Time) (api.VaultInfo, error) {
	points, unread := v.Points(ctx)
	st, err := v.Standing()
	unread = errors.Join(unread, err)
	held, err := v.Held(now)
	unread = errors.Join(unread, err)
	info := api.VaultInfo{Vault: DescribeVault(v.Info()), Points: len(points)}
	info.Trash, info.Locked, err = setAside(ctx, v, points, now)
	unread = errors.Join(unread, err)
	machines := map[blockstore.MachineID]bool{}
	for _, p := range points {
		machines[p.Machine] = true
		t := api.At(p.Time)
		if info.Oldest == nil || t.Before(info.Oldest.Time) {
			info.Oldest = &t
		}
		if info.Newest == nil || t.After(info.Newest.Time) {
			info.Newest = &t
		}
	}
	info.Machines = len(machines)
	info.Owner, info.CopyOf = DescribeOwner(st.Owner, st.OtherHost), st.CopyOf
	if held != nil {
		info.HeldUntil = maybe(held.Until)
	}
	info.SizeOnDisk, info.Free, err = occupied(ctx, v.Info().Path)
	return info, errors.Join(unread, err)
}

// setAside counts the points in the trash, and those that are locked, there or
// not.
func setAside(ctx context.Context, v *blockstore.Vault, listed []*blockstore.Point, now time.Time) (trash, locked int, err error) {
	deleted, err := v.Trash(ctx)
	states, e := v.States(slices.Concat(listed, deleted))
	for _, s := range states {
		if s.Locked(now) {
			locked++
		}
	}
	return len(deleted), locked, errors.Join(err, e)
}

// occupied adds up what the files under path take, and says what is free in
// their file system. A file that goes meanwhile is not counted.
func occupied(ctx context.Context, path string) (used, free int64, err error) {
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		var st syscall.Stat_t
		if err == nil {
			err = syscall.Lstat(name, &st)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		used += st.Blocks * 512
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("add up the files of vault %s: %w", path, err)
	}
	var fsys syscall.Statfs_t
	if err := syscall.Statfs(path, &fsys); err != nil {
		return 0, 0, fmt.Errorf("ask for the free space of vault %s: %w", path, err)
	}
	return used, int64(fsys.Bavail) * fsys.Bsize, nil
}

// Machines returns the machines of a vault with the states of their VMs.
func (s *Service) Machines(ctx context.Context, vault string) (all []api.Machine, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		machines, unread := v.Machines(ctx)
		var err error
		all, err = DescribeMachines(ctx, v, machines, true)
		return errors.Join(unread, err)
	})
	return all, err
}

// DescribeMachines returns machines with their points, holds and, if asked, states.
func DescribeMachines(ctx context.Context, v *blockstore.Vault, machines []blockstore.Machine, ask bool) ([]api.Machine, error) {
	points, unread := v.Points(ctx)
	states := make([]string, len(machines))
	if ask {
		states = statesOf(ctx, machines)
	}
	count, newest := map[blockstore.MachineID]int{}, map[blockstore.MachineID]api.Time{}
	for _, p := range points {
		t, there := newest[p.Machine]
		if at := api.At(p.Time); !there || at.After(t.Time) {
			newest[p.Machine] = at
		}
		count[p.Machine]++
	}
	all := make([]api.Machine, 0, len(machines))
	for i, m := range machines {
		a := describeMachine(m)
		a.State, a.Points = states[i], count[m.ID]
		if t, there := newest[m.ID]; there {
			a.Newest = &t
		}
		held, err := v.MachineHeld(m.ID, time.Now())
		unread = errors.Join(unread, err)
		if held != nil {
			a.HeldUntil = maybe(held.Until)
		}
		all = append(all, a)
	}
	return all, unread
}

// Points returns the listed points of a machine, or of all, machine by machine, the oldest first.
func (s *Service) Points(ctx context.Context, vault, machine string) (all []api.Point, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		points, unread := v.Points(ctx)
		slices.SortStableFunc(points, func(p, q *blockstore.Point) int {
			return cmp.Or(cmp.Compare(p.MachineName, q.MachineName), cmp.Compare(p.Machine, q.Machine), p.Compare(q))
		})
		if machine != "" {
			var err error
			if points, _, err = PointsOf(ctx, v, points, machine); err != nil {
				return errors.Join(err, unread)
			}
		}
		states, err := v.States(points)
		unread = errors.Join(unread, err)
		all = make([]api.Point, 0, len(points))
		for i, p := range points {
			all = append(all, DescribeState(p, states[i]))
		}
		return unread
	})
	return all, err
}

// Policies returns the policies of a vault.
func (s *Service) Policies(ctx context.Context, vault string) (all []api.Policy, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		policies, unread := v.Policies(ctx)
		machines, err := v.Machines(ctx)
		all = make([]api.Policy, 0, len(policies))
		for _, p := range policies {
			all = append(all, DescribePolicy(p, policies, machines, s.o.Host, time.Now()))
		}
		return errors.Join(unread, err)
	})
	return all, err
}

// Trash returns the points in the trash of a vault.
func (s *Service) Trash(ctx context.Context, vault string) (all []api.Trashed, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		points, unread := v.Trash(ctx)
		all = make([]api.Trashed, 0, len(points))
		for _, p := range points {
			state, err := v.State(p)
			if err != nil {
				unread = errors.Join(unread, err)
				continue
			}
			all = append(all, api.Trashed{Point: DescribeState(p, state), DropsOn: api.At(state.Expires(v.Info().TrashDays))})
		}
		return unread
	})
	return all, err
}

// PlanPrune says what a prune would do now.
func (s *Service) PlanPrune(ctx context.Context, vault string, o api.PruneOptions) (all []api.Prune, err error) {
	err = s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		plans, err := planPrune(ctx, v, o, time.Now())
		all = make([]api.Prune, 0, len(plans))
		for _, p := range plans {
			all = append(all, describePrune(p, true))
		}
		return err
	})
	return all, err
}
