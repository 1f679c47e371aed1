package blockstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// A record of a point that is lost is put back by the next owner, from a segment. Until then
// readers use the segment's copy: all that it names is durable, and who restores the latest
// point must not be given the one before it.

// committed returns the paths of points that some table says were committed, and
// none that they were dropped.
func (s *tableSet) committed() map[string]bool {
	if known := s.there.Load(); known != nil {
		return *known
	}
	gone, there := s.dropped(), map[string]bool{}
	for _, t := range s.tables {
		// Their lists of points were verified when they were opened.
		_ = t.EachPoint(func(p segment.Point) error {
			if p.Event == segment.Committed && !gone[p.Path] {
				there[p.Path] = true
			}
			return nil
		})
	}
	s.there.Store(&there)
	return there
}

// without returns what committed does, but for paths.
func (s *tableSet) without(paths []string) (missing []string) {
	committed, found := s.committed(), 0
	for _, p := range paths {
		if committed[p] {
			found++
		}
	}
	if found == len(committed) {
		return nil
	}
	have := make(map[string]bool, len(paths))
	for _, p := range paths {
		have[p] = true
	}
	for p := range committed {
		if !have[p] {
			missing = append(missing, p)
		}
	}
	slices.Sort(missing)
	return missing
}

// lostRecords returns the paths of points whose records are lost, paths being those that were
// listed, and keeps the copies that segments have of them. A point that was committed or
// dropped meanwhile, or whose commit is under way, is none. An owner puts lost records back and asks
// for none.
func (v *Vault) lostRecords(ctx context.Context, paths []string) ([]string, error) {
	if v.keepsFree != nil || len(v.tables.Load().without(paths)) == 0 {
		return nil, nil
	}
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	set := v.tables.Load()
	cut := v.cutShort(set)
	lost := slices.DeleteFunc(set.without(paths), func(p string) bool {
		_, err := v.dir.Size(p)
		return p == cut || !isNotExist(err)
	})
	if len(lost) == 0 {
		return nil, nil
	}
	if err := v.refresh(ctx); err != nil {
		return nil, err
	}
	set = v.tables.Load()
	lost = slices.DeleteFunc(lost, func(p string) bool { return !set.committed()[p] })
	return lost, v.takeCopies(set, lost)
}

// takeCopies remembers the copies that segments have of lost records, and says so the first time.
func (v *Vault) takeCopies(set *tableSet, lost []string) error {
	wanted := map[string]bool{}
	for _, p := range lost {
		if v.points.get(p) == nil {
			wanted[p] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	for _, t := range set.tables {
		err := t.EachPoint(func(told segment.Point) error {
			if !wanted[told.Path] || told.Event != segment.Committed {
				return nil
			}
			delete(wanted, told.Path)
			point, err := v.decodePoint(told.Path, told.Record)
			if err != nil {
				return err
			}
			if told.Path != pointPath(point.Machine, point.Seq, point.ID) {
				return fmt.Errorf("a segment tells of a point at %.200q, where it does not belong: %w", told.Path, errRecord)
			}
			v.points.put(told.Path, point)
			v.warn(fmt.Sprintf("the record of point %s@%s of %s is lost; the copy in a segment is used, and the next owner of the vault puts it back",
				point.MachineName, point.ID, point.Time.Format(time.RFC3339)))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// cutShort returns the path of the one point whose commit is under way, or was
// cut short, if it is missing: the newest segment is for it alone, and the owner
// has not ended well.
func (v *Vault) cutShort(set *tableSet) string {
	if len(set.tables) == 0 {
		return ""
	}
	newest := set.tables[0] // the newest come first
	if o, err := v.readOwner(writerID(newest.Writer)); err == nil && o.Clean {
		return ""
	}
	var commits []string
	err := newest.EachPoint(func(p segment.Point) error {
		if p.Event == segment.Committed {
			commits = append(commits, p.Path)
		}
		return nil
	})
	if err != nil || len(commits) != 1 {
		return ""
	}
	return commits[0]
}
