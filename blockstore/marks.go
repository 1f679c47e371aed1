package blockstore

import (
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// marks remembers IDs by where a segment lists them: one bit each, whatever
// the vault's size.
type marks struct {
	set   *tableSet
	bits  [][]uint64 // index: table; nil until one of its entries is marked
	noted noted      // copies that are not kept where there is another

	recent recentIDs // marked by markPoint

	// Of addAll, by table and the table's packs:
	there [][]bool // packs that are present
	use   [][]packSum
}

// packSum is what is marked in a pack.
type packSum struct {
	bytes   int64 // of records
	records int
}

func newMarks(set *tableSet) *marks { return &marks{set: set, bits: make([][]uint64, len(set.tables))} }

// locate returns the first table, newest first, that lists id, and the entry.
func (s *tableSet) locate(id ID) (table int, entry int64, ok bool) {
	for i, t := range s.tables {
		first, after, err := t.Find(id)
		if err == nil && after > first {
			return i, first, true
		}
	}
	return 0, 0, false
}

// add marks id and tells whether it was marked before. An ID that no segment
// lists is never marked.
func (m *marks) add(id ID) (before bool) {
	table, entry, ok := m.set.locate(id)
	if !ok {
		return false
	}
	before = m.marked(table, entry)
	m.mark(table, entry)
	return before
}

// remove takes the mark of id away.
func (m *marks) remove(id ID) {
	if table, entry, ok := m.set.locate(id); ok && m.bits[table] != nil {
		m.bits[table][entry/64] &^= 1 << (entry % 64)
	}
}

func (m *marks) has(id ID) bool {
	table, entry, ok := m.set.locate(id)
	return ok && m.marked(table, entry)
}

func (m *marks) mark(table int, entry int64) {
	if m.bits[table] == nil {
		m.bits[table] = make([]uint64, m.set.tables[table].Count/64+1)
	}
	m.bits[table][entry/64] |= 1 << (entry % 64)
}

func (m *marks) marked(table int, entry int64) bool {
	return m.bits[table] != nil && m.bits[table][entry/64]&(1<<(entry%64)) != 0
}

// weigh readies marks for addAll, which looks for content in packs that are
// present now.
func (m *marks) weigh(present func(pack.ID) bool) {
	m.there, m.use = nil, nil
	for _, t := range m.set.tables {
		there := make([]bool, len(t.Packs))
		for i, p := range t.Packs {
			there[i] = present(p.ID)
		}
		m.there, m.use = append(m.there, there), append(m.use, make([]packSum, len(t.Packs)))
	}
}

// spot is where an entry is.
type spot struct {
	table int
	at    int64
	segment.Entry
}

// addAll marks the copies of IDs that are kept, as addPresent does for one. The
// IDs ascend, none is there twice, and they are overwritten. Fresh is called
// for each that was not marked before. Those that are in no pack that is
// present are returned.
func (m *marks) addAll(ids []ID, fresh func(table int, e *segment.Entry)) (missing []ID, err error) {
	found := make([]bool, len(ids))
	second := map[ID]spot{} // copies noted as damaged
	for i, t := range m.set.tables {
		clear(found)
		err := t.FindEach(ids, func(j int, at int64, e segment.Entry) error {
			switch {
			case found[j] || !m.there[i][e.Pack]:
			case len(m.noted) == 0 || !m.noted.has(e.ID, t.Packs[e.Pack].ID):
				found[j] = true
				m.keep(spot{i, at, e}, fresh)
			default:
				if _, ok := second[e.ID]; !ok {
					second[e.ID] = spot{i, at, e}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		left := ids[:0]
		for j, id := range ids {
			if !found[j] {
				left = append(left, id)
			}
		}
		ids, found = left, found[:len(left)]
	}
	for _, id := range ids {
		if s, ok := second[id]; ok {
			m.keep(s, fresh)
		} else {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// keep marks an entry and adds it to what its pack holds.
func (m *marks) keep(s spot, fresh func(table int, e *segment.Entry)) {
	if m.marked(s.table, s.at) {
		return
	}
	m.mark(s.table, s.at)
	u := &m.use[s.table][s.Pack]
	u.bytes += int64(s.Length)
	u.records++
	fresh(s.table, &s.Entry)
}
