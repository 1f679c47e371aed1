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
			if err := run.drop(owner, points); err != nil || o.Drop {
				return err
			}
		}
		return run.build(ctx, owner, points)
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
	by := map[blockstore.MachineID][]*blockstore.Point{}
	var order []blockstore.MachineID
	for _, p := range points {
		if by[p.Machine] == nil {
			order = append(order, p.Machine)
		}
		by[p.Machine] = append(by[p.Machine], p)
	}
	for _, m := range order {
		look, err := catalogue.Look(v, m, by[m])
		if err != nil {
			return nil, err
		}
		list = append(list, look.Missing...)
	}
	return list, nil
}

// drop removes the catalogues of some points.
func (c *catalogueRun) drop(owner *blockstore.Owner, points []*blockstore.Point) error {
	of := map[blockstore.PointID]bool{}
	machines := map[blockstore.MachineID]bool{}
	for _, p := range points {
		of[p.ID], machines[p.Machine] = true, true
	}
	var gone blockstore.Catalogues
	for m := range machines {
		all, err := owner.Catalogues(m)
		if err != nil {
			return err
		}
		for _, one := range all {
			if of[one.Point] {
				gone = append(gone, one)
			}
		}
	}
	freed, err := owner.DropCatalogues(gone)
	if err == nil {
		c.out.Dropped, c.out.Freed = len(gone), freed
	}
	return err
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
	if n := len(built.Unread); n > 0 {
		c.r.Note(fmt.Sprintf("point %s@%s: %s could not be read; `holdfast catalogue show %s` names them", p.MachineName, p.ID, Count(n, "path"), p.MachineName))
	}
	return nil
}
