package segment

import (
	"container/heap"
	"fmt"
	"slices"
)

// Merge adds the entries of tables to b and returns the packs that they name,
// for [Builder.Finish]. Entries of packs for which keep returns false are left
// out. It streams: memory does not grow with the tables.
func Merge(b *Builder, tables []*Table, keep func(pack [16]byte) bool) ([]Pack, error) {
	packs, places := unitePacks(tables, keep)
	return packs, walk(tables, places, b.Add)
}

// Walk calls fn for the entries of tables in the order of a merged table, and
// before that begin with the packs that they name, sorted by ID. Entries of
// packs for which keep returns false are left out.
func Walk(tables []*Table, keep func(pack [16]byte) bool, begin func([]Pack) error, fn func(Entry) error) error {
	packs, places := unitePacks(tables, keep)
	if err := begin(packs); err != nil {
		return err
	}
	return walk(tables, places, fn)
}

func walk(tables []*Table, places [][]int, fn func(Entry) error) error {
	h := make(cursors, 0, len(tables))
	for i, t := range tables {
		c := &cursor{table: t, place: places[i]}
		if ok, err := c.next(); err != nil {
			return err
		} else if ok {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		c := h[0]
		if err := fn(c.entry); err != nil {
			return err
		}
		ok, err := c.next()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	return nil
}

// gone marks, among a table's packs, those that are left out.
const gone = -1

// unitePacks returns all packs, sorted by ID so that the place of a pack grows
// with its ID, and for each table where its packs are among them.
func unitePacks(tables []*Table, keep func([16]byte) bool) ([]Pack, [][]int) {
	var all []Pack
	for _, t := range tables {
		for _, p := range t.Packs {
			if keep(p.ID) {
				all = append(all, p)
			}
		}
	}
	order := func(p, q Pack) int { return slices.Compare(p.ID[:], q.ID[:]) }
	slices.SortFunc(all, order)
	all = slices.CompactFunc(all, func(p, q Pack) bool { return p.ID == q.ID })
	places := make([][]int, len(tables))
	for i, t := range tables {
		for _, p := range t.Packs {
			at, ok := slices.BinarySearchFunc(all, p, order)
			if !ok {
				at = gone
			}
			places[i] = append(places[i], at)
		}
	}
	return all, places
}

// cursor walks one table.
type cursor struct {
	table *Table
	place []int // index: the table's pack; value: the pack's place in the merged table
	at    int64
	entry Entry
}

func (c *cursor) next() (bool, error) {
	for c.at < c.table.Count {
		e, err := c.table.Entry(c.at)
		if err != nil {
			return false, fmt.Errorf("merge: %w", err)
		}
		c.at++
		if p := c.place[e.Pack]; p != gone {
			e.Pack = uint32(p)
			c.entry = e
			return true, nil
		}
	}
	return false, nil
}

// cursors is a heap by entry.
type cursors []*cursor

func (h cursors) Len() int           { return len(h) }
func (h cursors) Less(i, j int) bool { return h[i].entry.compare(&h[j].entry) < 0 }
func (h cursors) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)        { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
