package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// pointCache keeps records that were read: they never change.
type pointCache struct {
	mu     sync.Mutex
	points map[string]*Point     // by path
	attrs  map[string]*Attribute // by path
}

// Points returns every listed point, those in the trash left out, sorted by
// machine name, machine id and [Point.Compare]. It sees what other processes
// committed meanwhile, and is cheap when repeated. Where single records cannot
// be read, the others are returned together with an error that names those.
func (v *Vault) Points(ctx context.Context) ([]*Point, error) {
	all, err := v.allPoints(ctx)
	trash, attrErr := v.trash()
	points := slices.DeleteFunc(all, func(p *Point) bool { return trash[p.ID] })
	slices.SortFunc(points, func(p, q *Point) int {
		return cmp.Or(cmp.Compare(p.MachineName, q.MachineName), cmp.Compare(p.Machine, q.Machine), p.Compare(q))
	})
	return points, errors.Join(err, attrErr)
}

// allPoints returns the points of the vault, trash included, in no order.
func (v *Vault) allPoints(ctx context.Context) ([]*Point, error) {
	paths, err := v.pointPaths()
	if err != nil {
		return nil, err
	}
	points := make([]*Point, len(paths))
	errs := make([]error, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	const batch = 64
	g.SetLimit(8)
	for from := 0; from < len(paths); from += batch {
		g.Go(func() error {
			for i := from; i < min(from+batch, len(paths)) && ctx.Err() == nil; i++ {
				points[i], errs[i] = v.point(paths[i])
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	points = slices.DeleteFunc(points, func(p *Point) bool { return p == nil })
	v.points.forgetAllBut(paths)
	return points, errors.Join(errs...)
}

// pointPaths lists the records of points.
func (v *Vault) pointPaths() ([]string, error) {
	machines, err := v.dir.List(pointsDir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, m := range machines {
		names, err := v.dir.List(path.Join(pointsDir, m))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			paths = append(paths, path.Join(pointsDir, m, name))
		}
	}
	return paths, nil
}

// point reads one record. One that vanished meanwhile is nil without an error.
func (v *Vault) point(p string) (*Point, error) {
	if known := v.points.get(p); known != nil {
		return known, nil
	}
	b, err := v.dir.ReadFile(p, maxRecord)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	point, err := v.decodePoint(p, b)
	if err != nil {
		return nil, err
	}
	v.points.put(p, point)
	return point, nil
}

// decodePoint authenticates the record of a point.
func (v *Vault) decodePoint(p string, b []byte) (*Point, error) {
	point := &Point{}
	if err := decodeRecord(v.keys, pointKind, p, b, point); err != nil {
		return nil, err
	}
	if err := point.check(); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", p, errRecord, err)
	}
	return point, nil
}

// check refuses a point whose names could lead somewhere else.
func (p *Point) check() error {
	if !pointID.MatchString(string(p.ID)) || !hexID.MatchString(string(p.Machine)) {
		return fmt.Errorf("ids %.40q and %.40q", p.ID, p.Machine)
	}
	errs := []error{CheckMachineName(p.MachineName)}
	for _, d := range p.Disks {
		errs = append(errs, CheckDiskName(d.Name))
		if d.Size < 0 {
			errs = append(errs, fmt.Errorf("disk %s of %d bytes", d.Name, d.Size))
		}
	}
	for _, c := range p.Config {
		errs = append(errs, CheckConfigName(c.Name))
	}
	return errors.Join(errs...)
}

func (c *pointCache) get(p string) *Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.points[p]
}

func (c *pointCache) put(p string, point *Point) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.points == nil {
		c.points = map[string]*Point{}
	}
	c.points[p] = point
}

// forgetAllBut drops what was removed from the vault.
func (c *pointCache) forgetAllBut(paths []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.points) <= len(paths) {
		return
	}
	keep := make(map[string]*Point, len(paths))
	for _, p := range paths {
		if point := c.points[p]; point != nil {
			keep[p] = point
		}
	}
	c.points = keep
}
