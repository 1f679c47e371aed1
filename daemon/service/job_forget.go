package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// planPrune finds the machines, and what is to become of their points.
func planPrune(ctx context.Context, v *blockstore.Vault, o api.PruneOptions, now time.Time) ([]PrunePlan, error) {
	var machines []blockstore.Machine
	for _, name := range o.Machines {
		m, err := FindMachine(ctx, v, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(machines, func(n blockstore.Machine) bool { return n.ID == m.ID }) {
			machines = append(machines, m)
		}
	}
	if len(o.Machines) == 0 {
		var err error
		if machines, err = v.Machines(ctx); err != nil {
			return nil, fmt.Errorf("nothing was pruned, since not every machine can be read: %w", err)
		}
	}
	return PlanPrune(ctx, v, Pruning{Machines: machines, Confirm: o.Confirm, Now: now})
}

// prune moves points to the trash, if the clock is believed.
func (s *Service) prune(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	o := api.PruneOptions{}
	if q.Prune != nil {
		o = *q.Prune
	}
	if q.Machine != "" {
		o.Machines = append(slices.Clone(o.Machines), q.Machine)
	}
	var all []api.Prune
	err := s.vaults.Own(ctx, q.Vault, ToForget, func(owner *blockstore.Owner) error {
		now, err := owner.TrustedNow(ctx)
		if err != nil {
			return fmt.Errorf("nothing was pruned: %w", err)
		}
		r.Phase("plan")
		plans, err := planPrune(ctx, owner.Vault, o, now)
		if err != nil {
			return err
		}
		r.Phase("delete")
		moved, err := prune(ctx, owner, plans)
		if err != nil {
			return leaving(ctx, err, fmt.Sprintf("%s moved to the trash; run it again to go on", Count(moved, "point")))
		}
		all = make([]api.Prune, 0, len(plans))
		for _, p := range plans {
			a := describePrune(p, false)
			if d := PruneDoubt(a); d != "" {
				r.Warn(d)
			}
			all = append(all, a)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// PruneDoubt is what somebody should look after of a machine that was passed over; "": nothing.
func PruneDoubt(p api.Prune) string {
	switch {
	case p.Waits:
		return fmt.Sprintf("machine %s is passed over: %s; `holdfast prune %s --dry-run` lists them, --confirm does it", p.Machine, p.Passed, p.Machine)
	case p.Doubtful:
		return fmt.Sprintf("machine %s is passed over: %s", p.Machine, p.Passed)
	}
	return ""
}

// sweep gives the space back of what no point names.
func (s *Service) sweep(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	o := api.SweepOptions{}
	if q.Sweep != nil {
		o = *q.Sweep
	}
	var result any
	err := s.vaults.Own(ctx, q.Vault, ToForget, func(owner *blockstore.Owner) (err error) {
		result, err = runSweep(ctx, r, owner, blockstore.SweepOptions{DryRun: o.DryRun, Now: o.Now, Full: o.Full})
		return err
	})
	return result, err
}

// runSweep sweeps; the result is there also of a sweep that failed on its way.
func runSweep(ctx context.Context, r *jobs.Report, owner *blockstore.Owner, o blockstore.SweepOptions) (any, error) {
	o.GiveWay = func(ctx context.Context) { r.GiveWay(ctx) } // the end of ctx is seen by who goes on
	o.Progress = func(done, total int64) { r.Progress(jobs.Progress{Done: done, Total: total, Unit: "bytes"}) }
	report, err := owner.Sweep(ctx, o)
	if err != nil && report != nil && report.Freed > 0 {
		r.Note(fmt.Sprintf("%s were freed before that", api.FormatSize(report.Freed)))
	}
	err = leaving(ctx, err, "nothing that a point names was removed; the next sweep goes on")
	if report == nil {
		return nil, err
	}
	return describeSweep(report, o.DryRun), err
}

// emptyTrash drops points in the trash for good, or says which it would drop.
func (s *Service) emptyTrash(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	o := api.EmptyTrashOptions{}
	if q.EmptyTrash != nil {
		o = *q.EmptyTrash
	}
	result := any(describeSweep(&blockstore.SweepReport{}, o.DryRun))
	if o.DryRun {
		err := s.vaults.Read(ctx, q.Vault, func(v *blockstore.Vault) error {
			points, err := toDrop(ctx, r, v, o.Points)
			result = describeSweep(&blockstore.SweepReport{Dropped: points}, true)
			return err
		})
		return result, err
	}
	err := s.vaults.Own(ctx, q.Vault, ToForget, func(owner *blockstore.Owner) error {
		points, err := toDrop(ctx, r, owner.Vault, o.Points)
		if err != nil || len(points) == 0 {
			return err
		}
		opts := blockstore.SweepOptions{Now: true}
		for _, p := range points {
			opts.Points = append(opts.Points, p.ID)
		}
		result, err = runSweep(ctx, r, owner, opts)
		return err
	})
	return result, err
}

// toDrop returns the points that are meant, or all of the trash, without those
// that are locked. A locked one that is named is an error.
func toDrop(ctx context.Context, r *jobs.Report, v *blockstore.Vault, refs []api.PointRef) ([]*blockstore.Point, error) {
	all, err := v.Trash(ctx)
	if len(refs) > 0 {
		all, err = FindPoints(ctx, v, refs, Trashed)
	}
	if err != nil {
		return nil, err
	}
	var points []*blockstore.Point
	var refused []error
	for _, p := range all {
		state, err := v.State(p)
		if err != nil {
			return nil, err
		}
		if !state.Locked(time.Now()) {
			points = append(points, p)
			continue
		}
		locked := fmt.Errorf("point %s@%s (%s) is %w until %s", p.MachineName, p.Label(), p.ID, blockstore.ErrLocked, state.Until.UTC().Format("2006-01-02T15:04:05Z"))
		if len(refs) == 0 {
			r.Warn(locked.Error() + " and stays")
			continue
		}
		refused = append(refused, locked)
	}
	return points, errors.Join(refused...)
}
