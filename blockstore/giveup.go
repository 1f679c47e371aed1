package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// ErrWhole reports a point that is not given up, since nothing of it is damaged.
var ErrWhole = errors.New("nothing of it is damaged")

// GiveUp drops a damaged point for good, without trash, so that what is damaged
// does not keep sweep from its work. A locked point is ErrLocked, one of
// which all can be found is ErrWhole, the parent of a running backup is ErrRunning. A point
// whose record cannot be read is given up by its id.
func (o *Owner) GiveUp(ctx context.Context, m MachineID, id PointID) error {
	name, err := o.pathOf(m, id)
	if err != nil {
		return err
	}
	p, err := o.point(name)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil && p != nil && o.isWhole(ctx, p) {
		return fmt.Errorf("give up point %s@%s: %w", p.MachineName, id, ErrWhole)
	}
	o.attributing.Lock()
	defer o.attributing.Unlock()
	attrs, err := o.attributes(m, id)
	if err != nil {
		return fmt.Errorf("give up point %s: whether it is locked cannot be read: %w", id, err)
	}
	if s := stateOf(attrs); s.Locked(time.Now()) {
		return fmt.Errorf("give up point %s: %w until %s", id, ErrLocked, s.Until.Format(time.RFC3339))
	}
	if !o.mayDrop(id) {
		return fmt.Errorf("give up point %s: %w, and it is compared with this point", id, ErrRunning)
	}
	if err := o.forget(droppedPoint{name, m, id}); err != nil {
		return fmt.Errorf("give up point %s: %w", id, err)
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := o.tellDropsTwice(); err != nil {
		return fmt.Errorf("give up point %s: it is dropped, and that is told once: %w", id, err)
	}
	return nil
}

// pathOf finds the record of a point by its id.
func (o *Owner) pathOf(m MachineID, id PointID) (string, error) {
	folder := path.Join(pointsDir, string(m))
	names, err := o.dir.List(folder)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if _, rest, ok := parseNumbered(n); ok && rest == string(id) {
			return path.Join(folder, n), nil
		}
	}
	return "", fmt.Errorf("point %s of machine %s: %w", id, m, ErrNotFound)
}

// isWhole tells whether the maps of a point can be read, and all that they name
// is in a pack that is there and not noted as damaged.
func (o *Owner) isWhole(ctx context.Context, p *Point) bool {
	harm := errors.New("harmed")
	exists := func(id ID) error {
		if !id.IsZero() && !o.hasGoodCopy(id) {
			return harm
		}
		return nil
	}
	for i := range p.Disks {
		m := o.diskMap(&p.Disks[i])
		err := m.Visit(ctx, 0, m.Blocks, diskmap.Visitor{
			Page: func(id ID, level int, _ int64) (bool, error) {
				// Past the cache: what is given up must be damaged now.
				_, err := o.readWhole(content.Page, id)
				return true, errors.Join(err, exists(id))
			},
			Blocks: func(_ int64, ids []ID) error {
				for _, id := range ids {
					if err := exists(id); err != nil {
						return err
					}
				}
				return nil
			},
		})
		if err != nil {
			return false
		}
	}
	for _, c := range p.Config {
		for _, id := range c.Parts {
			if exists(id) != nil {
				return false
			}
		}
	}
	return true
}
