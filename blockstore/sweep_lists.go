package blockstore

import (
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// listedAtOnce is how many records the lists hold that are looked up together.
const listedAtOnce = 1 << 18

// packLists are what packs say themselves that they hold, read and looked up
// together, so that the segments are read in their order once and not for each
// record.
type packLists struct {
	entries map[pack.ID][]pack.Entry
	errs    map[pack.ID]error // of packs whose list cannot be read
	// kept tells where the copy lies that is marked, of those records that are.
	kept map[ID]pack.ID
}

// readLists reads the lists of some packs.
func (s *sweep) readLists(packs []*packUse) (*packLists, error) {
	l := &packLists{map[pack.ID][]pack.Entry{}, map[pack.ID]error{}, map[ID]pack.ID{}}
	var ids []ID
	for _, u := range packs {
		entries, _, err := s.o.packEntries(s.o.claim.owner.Writer, u.id)
		l.entries[u.id], l.errs[u.id] = entries, err
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
	}
	slices.SortFunc(ids, compareIDs)
	ids = slices.Compact(ids)
	for i, t := range s.set.tables {
		err := t.FindEach(ids, func(_ int, at int64, e segment.Entry) error {
			if s.live.marked(i, at) {
				l.kept[e.ID] = t.Packs[e.Pack].ID
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// listedTogether returns how many of some packs have their lists read together.
func listedTogether(packs []*packUse) (n int) {
	for records := 0; n < len(packs); n++ {
		if records += int(packs[n].Records); records > listedAtOnce && n > 0 {
			break
		}
	}
	return n
}
