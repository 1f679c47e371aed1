package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// mergeSegments merges segments of about one size where they are too many. The
// caller holds committing.
func (o *Owner) mergeSegments(ctx context.Context) error {
	for merged := false; ; merged = true {
		merge := crowded(o.tables.Load().tables)
		if merge == nil && merged {
			return o.tellDropsTwice()
		}
		if merge == nil {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := o.merge(merge); errors.Is(err, ErrHeld) {
			return nil // the next commit tries again
		} else if err != nil {
			return err
		}
	}
}

// crowded returns the segments of the smallest class that has too many, and
// all that are smaller.
func crowded(tables []*segment.Table) []*segment.Table {
	class := func(t *segment.Table) int { return bits.Len64(uint64(t.Bytes())) / 3 }
	count := map[int]int{}
	for _, t := range tables {
		count[class(t)]++
	}
	for c := range 22 {
		if count[c] >= maxPerClass {
			var merge []*segment.Table
			for _, t := range tables {
				if class(t) <= c {
					merge = append(merge, t)
				}
			}
			return merge
		}
	}
	return nil
}

// merge replaces segments by one. The new one is durable before the old ones
// go, and what both say is the same. While the vault is held that is ErrHeld,
// and the old ones stay.
func (o *Owner) merge(tables []*segment.Table) error {
	if err := o.mayRemove(); err != nil {
		return err
	}
	tables, err := o.distrust(tables)
	if err != nil || len(tables) < 2 {
		return err
	}
	points, err := mergePoints(tables, o.tables.Load().tables)
	if err != nil {
		return fmt.Errorf("merge %d segments: %w", len(tables), err)
	}
	table, err := o.newSegment(points, func(b *segment.Builder) ([]segment.Pack, error) {
		return segment.Merge(b, tables, o.packIsThere)
	})
	runtime.KeepAlive(tables) // points are in their memory
	if err != nil {
		return fmt.Errorf("merge %d segments: %w", len(tables), err)
	}
	o.replaceTables(table, tables)
	o.opts.Event("segments.merged")
	// Where that is refused they stay: they say the same as the new one, and go
	// with the next merge.
	return o.removing(func() error {
		var errs []error
		for _, t := range tables {
			errs = append(errs, o.dir.Remove(t.Name))
		}
		return errors.Join(errs...)
	})
}

// packIsThere tells whether entries of a pack are worth keeping: also of one
// that could not be read when this owner came.
func (o *Owner) packIsThere(id [16]byte) bool {
	o.store.mu.Lock()
	present := o.store.present[pack.ID(id)]
	o.store.mu.Unlock()
	if present {
		return true
	}
	_, err := o.dir.Size(packPath(o.claim.owner.Writer, pack.ID(id)))
	return !isNotExist(err)
}

// distrust reads segments that are to be merged, so that damage in one is not
// taken over into a good one. It returns those that are good. What the damaged ones
// tell is written again, from the footers of their packs, and they are removed.
// The caller holds committing.
func (o *Owner) distrust(tables []*segment.Table) (good []*segment.Table, err error) {
	var bad []*segment.Table
	for _, t := range tables {
		if err := t.Verify(o.keys); err != nil {
			o.warn(fmt.Sprintf("%v; it is written again, from the packs", err))
			bad = append(bad, t)
		} else {
			good = append(good, t)
		}
	}
	if len(bad) == 0 {
		return tables, nil
	}
	// Their lists of points were verified when they were opened.
	points, err := mergePoints(bad, o.tables.Load().tables)
	if err != nil {
		return nil, err
	}
	for _, t := range bad {
		for _, p := range t.Packs {
			entries, size, err := o.packEntries(o.claim.owner.Writer, p.ID)
			if isNotExist(err) {
				continue // swept
			}
			if err != nil {
				return nil, fmt.Errorf("pack %x: %w", p.ID, err)
			}
			o.store.mu.Lock()
			o.store.addUnnamed(newSealed(p.ID, size, entries))
			o.store.mu.Unlock()
		}
	}
	if err := o.writeSegment(points); err != nil {
		return nil, err
	}
	runtime.KeepAlive(bad) // points are in their memory
	o.removeTables(bad)
	for _, t := range bad {
		if err := o.dir.Remove(t.Name); err != nil {
			return nil, err
		}
	}
	return good, nil
}

// removeTables hides segments from readers of this process.
func (o *Owner) removeTables(gone []*segment.Table) {
	o.refreshing.Lock()
	defer o.refreshing.Unlock()
	old := o.tables.Load()
	set := &tableSet{broken: maps.Clone(old.broken)}
	for _, t := range old.tables {
		if !slices.Contains(gone, t) {
			set.tables = append(set.tables, t)
		}
	}
	o.tables.Store(set)
}

// mergePoints joins what segments tell of points: a dropped one is not
// committed any more. That a point was dropped is kept, of the last maxDropped
// and wherever a segment still tells of its commit. The merged ones count, too:
// they are removed one by one, and an end in between must not leave a commit
// without its drop. The next merge forgets both.
func mergePoints(tables, all []*segment.Table) ([]segment.Point, error) {
	dropped, told := map[string]bool{}, map[string]bool{}
	each := func(tables []*segment.Table, fn func(segment.Point)) error {
		for _, t := range slices.Backward(tables) { // oldest first
			if err := t.EachPoint(func(p segment.Point) error { fn(p); return nil }); err != nil {
				return err
			}
		}
		return nil
	}
	err := each(tables, func(p segment.Point) {
		if p.Event == segment.Dropped {
			dropped[p.Path] = true
		}
	})
	if err != nil {
		return nil, err
	}
	if len(dropped) > 0 {
		err := each(all, func(p segment.Point) {
			if p.Event == segment.Committed && dropped[p.Path] {
				told[p.Path] = true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	var points []segment.Point
	seen := map[string]bool{}
	forgettable := len(dropped) - maxDropped
	err = each(tables, func(p segment.Point) {
		if seen[p.Path] || p.Event == segment.Committed && dropped[p.Path] {
			return
		}
		seen[p.Path] = true
		if p.Event == segment.Dropped && forgettable > 0 && !told[p.Path] {
			forgettable--
			return
		}
		points = append(points, p)
	})
	if err != nil {
		return nil, err
	}
	removed, err := removedPacks(tables, all)
	return append(points, removed...), err
}

// removedPacks joins what segments tell of packs that sweep removed, as long
// as any segment names them. The merged ones count here, too. Where one of them names
// a pack, the new one tells of its removal though another did: it is newer than that.
func removedPacks(tables, all []*segment.Table) (points []segment.Point, err error) {
	removed, err := removedPaths(all)
	if err != nil || len(removed) == 0 {
		return nil, err
	}
	named, ours := map[string]bool{}, map[string]bool{}
	for _, t := range all {
		for _, p := range t.Packs {
			path := packPath(writerID(t.Writer), p.ID)
			if named[path] = removed[path]; slices.Contains(tables, t) {
				ours[path] = removed[path]
			}
		}
	}
	for _, t := range tables {
		if err := t.EachRemoved(func(path string) { ours[path] = named[path] }); err != nil {
			return nil, err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(ours)) {
		if ours[path] {
			points = append(points, segment.Point{Event: segment.Removed, Path: path})
		}
	}
	return points, nil
}
