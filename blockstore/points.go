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

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// pointCache keeps records that were read: they never change.
type pointCache struct {
	mu     sync.Mutex
	points map[string]*Point     // by path
	copied map[string]bool       // paths of damaged records whose copy in a segment is used
	attrs  map[string]*Attribute // by path
	// verified is what attributes of machines tell.
	verified map[MachineID]verifiedPoints
	// machines are records of machines, by path.
	machines map[string]Machine
}

// Points returns every listed point, those in the trash left out, sorted by
// machine name, machine id and [Point.Compare]. It sees what other processes
// committed meanwhile, and is cheap when repeated. Where single records cannot
// be read, the others are returned together with an error that names those.
func (v *Vault) Points(ctx context.Context) ([]*Point, error) {
	listed, _, err := v.PointsAndTrash(ctx)
	return listed, err
}

// PointsAndTrash returns what [Vault.Points] and [Vault.Trash] do, of one moment and by one look
// at the vault.
func (v *Vault) PointsAndTrash(ctx context.Context) (listed, trash []*Point, err error) {
	return v.pointsAndTrash(ctx, once(v.dir.Glance))
}

func (v *Vault) pointsAndTrash(ctx context.Context, list lister) (listed, trash []*Point, err error) {
	deleted, attrErr := v.trash(list) // first: of a point that is dropped meanwhile, the record goes before these do
	all, err := v.allPoints(ctx, list)
	listed = slices.DeleteFunc(all, func(p *Point) bool {
		if deleted[p.ID] {
			trash = append(trash, p)
		}
		return deleted[p.ID]
	})
	sortPoints(listed)
	sortPoints(trash)
	return listed, trash, errors.Join(err, attrErr)
}

func sortPoints(points []*Point) {
	slices.SortFunc(points, func(p, q *Point) int {
		return cmp.Or(cmp.Compare(p.MachineName, q.MachineName), cmp.Compare(p.Machine, q.Machine), p.Compare(q))
	})
}

// lister lists the names in a folder: [backend.Dir.List] for who deletes by what it finds, or
// [backend.Dir.Glance], which costs less.
type lister func(folder string) ([]string, error)

// allPoints returns the points of the vault, trash included, in no order.
func (v *Vault) allPoints(ctx context.Context, list lister) ([]*Point, error) {
	paths, err := pointPaths(list)
	if err != nil {
		return nil, err
	}
	if gone := v.tables.Load().dropped(); len(gone) > 0 {
		paths = slices.DeleteFunc(paths, func(p string) bool { return gone[p] })
	}
	lost, lostErr := v.lostRecords(ctx, paths)
	paths = append(paths, lost...)
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
	return points, errors.Join(append(errs, lostErr)...)
}

// pointPaths lists the records of points, also those that were dropped and are
// there all the same.
func pointPaths(list lister) ([]string, error) {
	machines, err := list(pointsDir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, m := range machines {
		if !hexID.MatchString(m) {
			continue
		}
		names, err := list(path.Join(pointsDir, m))
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
	point, err := v.readPoint(p)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		copied, e := v.pointInSegments(p)
		if e != nil {
			return nil, err
		}
		v.warn(fmt.Sprintf("%v; the copy in a segment is used", err))
		point = copied
		if errors.Is(err, errRecord) {
			v.points.noteCopied(p)
		}
	}
	v.points.put(p, point)
	return point, nil
}

// readPoint reads a record itself.
func (v *Vault) readPoint(p string) (*Point, error) {
	b, err := v.dir.ReadFile(p, maxRecord)
	if err != nil {
		return nil, err
	}
	return v.decodePoint(p, b)
}

// pointInSegments returns a segment's copy of a record that cannot be read. That of a
// point that was dropped is not found.
func (v *Vault) pointInSegments(p string) (point *Point, err error) {
	err = ErrNotFound
	for _, t := range v.tables.Load().tables {
		walkErr := t.EachPoint(func(told segment.Point) error {
			if told.Path != p || point != nil {
				return nil
			}
			if told.Event == segment.Dropped {
				return ErrNotFound
			}
			point, err = v.decodePoint(p, told.Record)
			return nil
		})
		if walkErr != nil {
			return nil, walkErr
		}
	}
	return point, err
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

// maxDisk is the size of the largest disk, in bytes: what a map of the smallest
// blocks can have.
const maxDisk = diskmap.MaxBlocks * MinBlockSize

// check refuses a point whose names could lead somewhere else, or whose sizes
// cannot be.
func (p *Point) check() error {
	if !pointID.MatchString(string(p.ID)) || !hexID.MatchString(string(p.Machine)) {
		return fmt.Errorf("ids %.40q and %.40q", p.ID, p.Machine)
	}
	errs := []error{CheckMachineName(p.MachineName)}
	names := map[string]bool{}
	for _, d := range p.Disks {
		errs = append(errs, CheckDiskName(d.Name))
		if d.Size < 0 || d.Size > maxDisk || names[d.Name] {
			errs = append(errs, fmt.Errorf("disk %s of %d bytes, too many or twice", d.Name, d.Size))
		}
		names[d.Name] = true
	}
	clear(names)
	for _, c := range p.Config {
		errs = append(errs, CheckConfigName(c.Name))
		if c.Size < 0 || c.Size > MaxConfig || int64(len(c.Parts)) != (c.Size+maxBlob-1)/maxBlob || names[c.Name] {
			errs = append(errs, fmt.Errorf("configuration %s of %d bytes in %d parts, which do not fit, or twice", c.Name, c.Size, len(c.Parts)))
		}
		names[c.Name] = true
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

func (c *pointCache) noteCopied(p string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.copied == nil {
		c.copied = map[string]bool{}
	}
	c.copied[p] = true
}

// takeCopied returns the paths of damaged records, and forgets them.
func (c *pointCache) takeCopied() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	copied := c.copied
	c.copied = nil
	return copied
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
