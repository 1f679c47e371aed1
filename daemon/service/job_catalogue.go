package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/catalogue"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// catalogueRequest refuses options that contradict each other.
func catalogueRequest(q api.JobRequest) error {
	o := q.Catalogue
	switch {
	case o == nil:
		return nil
	case o.Days < 0:
		return invalidf("days is %d: choose none, or more", o.Days)
	case len(o.Points) > 0 && q.Machine == "":
		return invalidf("points belong to a machine, and none is named")
	case o.Again && o.Drop:
		return invalidf("catalogues are made again, or dropped")
	}
	return nil
}

// catalogue lists the names of files at points that have no list yet. One point that fails does not
// keep the others from it.
func (s *Service) catalogue(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error) {
	o := api.CatalogueOptions{}
	if q.Catalogue != nil {
		o = *q.Catalogue
	}
	run := &catalogueRun{r: r, o: o, began: time.Now(), out: &api.CatalogueRun{Built: []api.CatalogueBuilt{}, Failed: []api.PointProblem{}}}
	to := ToStore
	if o.Drop {
		to = ToForget
	}
	err := s.vaults.Own(ctx, q.Vault, to, func(owner *blockstore.Owner) error {
		points, err := cataloguePoints(ctx, owner.Vault, q.Machine, o)
		if err != nil {
			return err
		}
		if o.Drop || o.Again {
			lost, err := run.drop(owner, points)
			if err != nil || o.Drop {
				return err
			}
			return run.build(ctx, owner, together(ctx, owner.Vault, points, lost))
		}
		lost, err := run.mend(ctx, owner, points)
		if err != nil {
			return err
		}
		return run.build(ctx, owner, together(ctx, owner.Vault, points, lost)) // also older ones that had theirs
	})
	run.out.Seconds = time.Since(run.began).Seconds()
	if err != nil {
		return run.out, leaving(ctx, err, fmt.Sprintf("%s have a catalogue now, and the next run goes on", Count(len(run.out.Built), "more point")))
	}
	return run.out, nil
}

// catalogueRun is one job.
type catalogueRun struct {
	r     *jobs.Report
	o     api.CatalogueOptions
	began time.Time
	out   *api.CatalogueRun
}

// cataloguePoints are the points that a job is about, machine by machine, the oldest first.
func cataloguePoints(ctx context.Context, v *blockstore.Vault, machine string, o api.CatalogueOptions) ([]*blockstore.Point, error) {
	if len(o.Points) > 0 {
		var refs []api.PointRef
		for _, p := range o.Points {
			refs = append(refs, api.PointRef{Machine: machine, Point: p})
		}
		points, err := FindPoints(ctx, v, refs, Listed)
		slices.SortFunc(points, (*blockstore.Point).Compare)
		return points, err
	}
	points, err := v.Points(ctx)
	if machine != "" && (err == nil || len(points) > 0) {
		points, _, err = PointsOf(ctx, v, points, machine)
	}
	if o.Days > 0 {
		since := time.Now().AddDate(0, 0, -min(o.Days, 1<<20))
		points = slices.DeleteFunc(slices.Clone(points), func(p *blockstore.Point) bool { return p.Time.Before(since) })
	}
	return points, err
}

// missing are those of some points that have no catalogue.
func missing(v *blockstore.Vault, points []*blockstore.Point) (list []*blockstore.Point, err error) {
	for _, mine := range byMachine(points) {
		look, err := catalogue.Look(v, mine[0].Machine, mine)
		if err != nil {
			return nil, err
		}
		list = append(list, look.Missing...)
	}
	return list, nil
}

// drop removes the catalogues of some points, and those that build on them. It says of which points.
func (c *catalogueRun) drop(owner *blockstore.Owner, points []*blockstore.Point) (lost blockstore.Catalogues, err error) {
	of := map[blockstore.PointID]bool{}
	for _, p := range points {
		of[p.ID] = true
	}
	for _, mine := range byMachine(points) {
		all, err := owner.Catalogues(mine[0].Machine)
		if err != nil {
			return nil, err
		}
		lost = append(lost, all.With(slices.DeleteFunc(slices.Clone(all), func(one blockstore.Catalogue) bool { return !of[one.Point] }))...)
	}
	freed, err := owner.DropCatalogues(lost)
	if err == nil {
		c.out.Dropped, c.out.Freed = len(lost), freed
	}
	return lost, err
}

// mend removes what cannot be used of the catalogues that some points take, so that it is made again,
// and says of which points that is. It reads them whole, which takes a tenth of a second for a year of a
// guest with a hundred thousand files (both ends alone: a fiftieth), so that a run of each day can.
func (c *catalogueRun) mend(ctx context.Context, owner *blockstore.Owner, points []*blockstore.Point) (lost blockstore.Catalogues, err error) {
	seen := map[blockstore.CatalogueID]bool{}
	for _, mine := range byMachine(points) {
		all, err := owner.Catalogues(mine[0].Machine)
		if err != nil {
			return nil, err
		}
		var bad blockstore.Catalogues
		chains := all.Chains()
		for _, p := range mine {
			for _, one := range chains[p.ID] {
				if seen[one.ID] {
					continue
				}
				seen[one.ID] = true
				err := catalogue.Check(ctx, owner.Vault, one)
				switch {
				case errors.Is(err, blockstore.ErrCatalogue):
					c.r.Note(fmt.Sprintf("%v; it is made again", err))
					bad = append(bad, one)
				case err != nil:
					return nil, err
				}
			}
		}
		lost = append(lost, all.With(bad)...)
	}
	_, err = owner.DropCatalogues(lost)
	return lost, err
}

// byMachine puts points of one machine together, in their order.
func byMachine(points []*blockstore.Point) (groups [][]*blockstore.Point) {
	at := map[blockstore.MachineID]int{}
	for _, p := range points {
		i, ok := at[p.Machine]
		if !ok {
			i = len(groups)
			at[p.Machine], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], p)
	}
	return groups
}

// together are points and those that lost their catalogue, the oldest of each machine first.
func together(ctx context.Context, v *blockstore.Vault, points []*blockstore.Point, lost blockstore.Catalogues) []*blockstore.Point {
	if len(lost) == 0 {
		return points
	}
	has, wants := map[blockstore.PointID]bool{}, map[blockstore.PointID]bool{}
	for _, p := range points {
		has[p.ID] = true
	}
	for _, one := range lost {
		wants[one.Point] = true
	}
	all, _ := v.Points(ctx) // who cannot be read has none
	both := slices.Clone(points)
	for _, p := range all {
		if wants[p.ID] && !has[p.ID] {
			both = append(both, p)
		}
	}
	slices.SortStableFunc(both, (*blockstore.Point).Compare)
	return both
}

// build makes what is missing.
func (c *catalogueRun) build(ctx context.Context, owner *blockstore.Owner, points []*blockstore.Point) error {
	list, err := missing(owner.Vault, points)
	if err != nil {
		return err
	}
	for i, p := range list {
		if err := c.r.GiveWay(ctx); err != nil {
			return err
		}
		c.r.Phase(fmt.Sprintf("%s@%s", p.MachineName, p.Time.UTC().Format("2006-01-02T15:04:05Z")))
		c.r.Progress(jobs.Progress{Done: int64(i), Total: int64(len(list)), Unit: "points"})
		if err := c.one(ctx, owner, p); err != nil {
			return err
		}
	}
	c.r.Progress(jobs.Progress{Done: int64(len(list)), Total: int64(len(list)), Unit: "points"})
	return nil
}

// one makes the catalogue of one point. An error of it is one of the run only where it is that of
// every other.
func (c *catalogueRun) one(ctx context.Context, owner *blockstore.Owner, p *blockstore.Point) error {
	built, err := catalogue.Build(ctx, owner, p, catalogue.Options{Told: func(int64) { c.r.GiveWay(ctx) }}) // the end of ctx is seen by who reads next
	ref := api.PointRef{Machine: p.MachineName, Point: string(p.ID)}
	var hang *blockstore.HangError
	var busy *blockstore.BusyError
	switch {
	case err == nil:
	case errors.Is(err, blockstore.ErrExists), errors.Is(err, blockstore.ErrNotFound): // it came, or its point went, meanwhile
		return nil
	case ctx.Err() != nil, errors.As(err, &hang), errors.As(err, &busy), errors.Is(err, blockstore.ErrFull):
		return err
	default:
		c.r.Warn(fmt.Sprintf("no catalogue of point %s@%s: %v", p.MachineName, p.ID, err))
		c.out.Failed = append(c.out.Failed, api.PointProblem{PointRef: ref, Error: err.Error()})
		return nil
	}
	c.out.Size += built.Size
	c.out.Built = append(c.out.Built, api.CatalogueBuilt{PointRef: ref, Names: built.Names, New: built.Changes, Whole: built.Whole, Walked: built.Walked,
		Size: built.Size, Unread: len(built.Unread)})
	n := 0
	for _, u := range built.Unread {
		if !u.Remote {
			n++
		}
	}
	if n > 0 {
		c.r.Note(fmt.Sprintf("point %s@%s: %s could not be read; `holdfast catalogue show %s` names them", p.MachineName, p.ID, Count(n, "path"), p.MachineName))
	}
	return nil
}
