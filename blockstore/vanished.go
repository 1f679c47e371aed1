package blockstore

import (
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// findVanished looks for packs that segments name and that are gone or cut
// short, though no sweep removed them. What they held counts as not stored from
// then on, also where a parent point names it: the next backup that meets it
// stores it again. Packs that are cut short are taken from present.
func (o *Owner) findVanished(present map[pack.ID]bool) error {
	removed, err := o.removedBySweep()
	if err != nil {
		return err
	}
	vanished := map[pack.ID]string{}
	for _, t := range o.tables.Load().tables {
		if writerID(t.Writer) != o.claim.owner.Writer {
			continue
		}
		for _, p := range t.Packs {
			if why := o.vanished(p, present); why != "" && !removed[packPath(o.claim.owner.Writer, p.ID)] {
				vanished[p.ID] = why
				if present[p.ID] {
					o.cutOff = append(o.cutOff, p.ID)
				}
				delete(present, p.ID)
			}
		}
	}
	if len(vanished) == 0 {
		return nil
	}
	o.damage.doubt = o.hasGoodCopy
	o.warnVanished(vanished)
	return nil
}

// vanished says what is wrong with a pack that a segment names, or "".
func (o *Owner) vanished(p segment.Pack, present map[pack.ID]bool) string {
	if !present[p.ID] {
		return "it is gone"
	}
	size, err := o.dir.Size(packPath(o.claim.owner.Writer, p.ID))
	switch {
	case err != nil:
		return err.Error()
	case size < p.Size:
		return fmt.Sprintf("it has %d bytes of %d", size, p.Size)
	}
	return ""
}

// removedBySweep returns the paths of packs that segments tell to be removed.
func (v *Vault) removedBySweep() (map[string]bool, error) {
	return removedPaths(v.tables.Load().tables)
}

// removedPaths returns the paths of packs that some tables tell to be removed. One that
// a newer table names outlived that: its removal was refused, or cut short after
// it was told.
func removedPaths(tables []*segment.Table) (map[string]bool, error) {
	told := map[string]uint64{} // by the newest that does
	for _, t := range tables {
		if err := t.EachRemoved(func(path string) { told[path] = max(told[path], t.Seq) }); err != nil {
			return nil, err
		}
	}
	removed := map[string]bool{}
	for path := range told {
		removed[path] = true
	}
	if len(told) == 0 {
		return removed, nil
	}
	for _, t := range tables {
		for _, p := range t.Packs {
			if path := packPath(writerID(t.Writer), p.ID); t.Seq > told[path] {
				delete(removed, path)
			}
		}
	}
	return removed, nil
}

// outlived tells which packs are there though segments tell that sweep removed them: from
// now on they are used again, so they are named again, too. It returns how many records
// segments say they have.
func (o *Owner) outlived() (map[pack.ID]uint32, error) {
	removed, err := o.removedBySweep()
	if err != nil {
		return nil, err
	}
	outlived := map[pack.ID]uint32{}
	if len(removed) == 0 {
		return outlived, nil
	}
	for _, t := range o.tables.Load().tables {
		for _, p := range t.Packs { // nobody else has the store yet
			if o.store.present[p.ID] && removed[packPath(writerID(t.Writer), p.ID)] {
				outlived[p.ID] = max(outlived[p.ID], p.Records)
			}
		}
	}
	return outlived, nil
}

// warnVanished names the first few.
func (o *Owner) warnVanished(vanished map[pack.ID]string) {
	const most = 3
	ids := slices.SortedFunc(maps.Keys(vanished), func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids[:min(most, len(ids))] {
		o.warn(fmt.Sprintf("pack %s: %s; what it held counts as not stored, and is stored again by the next backup that meets it", id, vanished[id]))
	}
	if len(ids) > most {
		o.warn(fmt.Sprintf("%d more packs are gone or cut short", len(ids)-most))
	}
}
