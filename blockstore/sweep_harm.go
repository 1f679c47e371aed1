package blockstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// HarmedError reports points that name what no pack holds or what is damaged,
// so that nobody can tell what else they name.
type HarmedError struct {
	Points []*Point
	Err    error // about the last of them
}

func (e *HarmedError) Error() string {
	var list strings.Builder
	for i, p := range e.Points {
		if i == 10 {
			fmt.Fprintf(&list, " and %d more", len(e.Points)-i)
			break
		}
		fmt.Fprintf(&list, " %s@%s", p.MachineName, p.ID)
	}
	return fmt.Sprintf("points that cannot be walked:%s: %v", &list, e.Err)
}

func (e *HarmedError) Unwrap() error { return e.Err }

// harmedBy returns a HarmedError with the points that name broken content, or
// another error. It walks maps point by point, each page once, and looks no
// block up.
func (v *Vault) harmedBy(ctx context.Context, broken map[ID]error, points []*Point) error {
	harmed := &HarmedError{}
	clean := newMarks(v.tables.Load()) // pages that lead to nothing broken
	for _, p := range points {
		err := v.namesBroken(ctx, p, broken, clean)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			harmed.Points, harmed.Err = append(harmed.Points, p), err
		}
	}
	if len(harmed.Points) == 0 {
		for _, err := range broken {
			return err
		}
	}
	return harmed
}

// namesBroken returns an error if a point names broken content.
func (v *Vault) namesBroken(ctx context.Context, p *Point, broken map[ID]error, clean *marks) error {
	for _, d := range p.Disks {
		if err := v.diskNamesBroken(ctx, &d, broken, clean); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
	}
	for _, c := range p.Config {
		for _, id := range c.Parts {
			if err := broken[id]; err != nil {
				return fmt.Errorf("configuration %s: %w", c.Name, err)
			}
		}
	}
	return nil
}

func (v *Vault) diskNamesBroken(ctx context.Context, d *DiskInfo, broken map[ID]error, clean *marks) error {
	var path [diskmapLevels + 1]ID // from the root to where the walk is; index: level
	m := v.diskMap(d)
	err := m.Visit(ctx, 0, m.Blocks, diskmap.Visitor{
		Page: func(id ID, level int, first int64) (bool, error) {
			if err := broken[id]; err != nil {
				return false, &diskmap.PageError{ID: id, First: first, Blocks: min(diskmap.Span(level), m.Blocks-first), Err: err}
			}
			path[level] = id
			clear(path[:level])
			return !clean.add(id), nil
		},
		Blocks: func(_ int64, ids []ID) error {
			for _, id := range ids {
				if err := broken[id]; err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil { // what leads there is not clean
		for _, id := range path {
			if !id.IsZero() {
				clean.remove(id)
			}
		}
	}
	return err
}
