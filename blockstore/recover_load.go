package blockstore

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/index"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

const (
	// leastLoaded is the number of packs from which on the index is made from
	// segments: for fewer, reading their own lists costs less than reading the
	// segments whole.
	leastLoaded = 64
	// loadStep is after how many entries room and context are looked at.
	loadStep = 1 << 18
)

// loadSegments enters packs into the index that it lacks, from the segments,
// whose entries come sorted, and returns which. Segments are read whole and
// compared with their MACs first; packs that no good one names, or whose size
// is not what it says, are left for their own lists.
func (o *Owner) loadSegments(ctx context.Context, lacking func(pack.ID) bool, progress func(packs, total int)) (map[pack.ID]bool, error) {
	var tables []*segment.Table
	set, wanted := o.tables.Load(), map[pack.ID]bool{}
	for _, t := range set.tables {
		if writerID(t.Writer) != o.claim.owner.Writer {
			continue
		}
		some := false
		for _, p := range t.Packs {
			if id := pack.ID(p.ID); lacking(id) && o.hasItsSize(id, p.Size) {
				wanted[id], some = true, true
			}
		}
		if some {
			tables = append(tables, t)
		}
	}
	if len(wanted) < leastLoaded || o.index.IsNone() {
		return nil, nil
	}
	good := o.namedByGood(&tableSet{tables: tables})
	keep := func(id [16]byte) bool { return wanted[id] && good[id] }
	l := &loading{o: o, progress: progress, loaded: map[pack.ID]bool{}}
	for _, t := range tables {
		l.total += t.Count
	}
	defer l.cancel()
	defer limitMemory(rebuildMemory)()
	err := segment.Walk(tables, keep, l.begin, func(e segment.Entry) error { return l.add(ctx, e) })
	if err == nil && l.loader != nil {
		err = l.loader.Finish(l.records)
	}
	if err != nil {
		return nil, fmt.Errorf("make the index from segments: %w", err)
	}
	return l.loaded, nil
}

// hasItsSize tells whether a pack counts as there and has the size that a segment
// tells.
func (o *Owner) hasItsSize(id pack.ID, size int64) bool {
	if !o.store.present[id] { // nobody else has the store yet
		return false
	}
	n, err := o.dir.Size(packPath(o.claim.owner.Writer, id))
	return err == nil && n == size
}

// loading is one run of loadSegments.
type loading struct {
	o        *Owner
	loader   *index.Loader
	packs    []segment.Pack
	records  []uint32
	loaded   map[pack.ID]bool
	progress func(packs, total int)

	done, total int64 // entries
}

func (l *loading) begin(packs []segment.Pack) (err error) {
	ids := make([][16]byte, len(packs))
	l.packs, l.records = packs, make([]uint32, len(packs))
	for i, p := range packs {
		ids[i] = p.ID
		l.loaded[p.ID] = true
	}
	l.loader, err = l.o.index.Load(ids)
	return err
}

func (l *loading) add(ctx context.Context, e segment.Entry) error {
	if l.done%loadStep == 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.o.checkIndexRoom(); err != nil {
			return err
		}
		l.progress(int(int64(len(l.packs))*l.done/max(l.total, 1)), len(l.o.store.present))
	}
	l.done++
	if l.o.damage.isNoted(e.ID, l.packs[e.Pack].ID) {
		return nil
	}
	l.records[e.Pack]++
	return l.loader.Add(int(e.Pack), index.Entry{ID: e.ID, Offset: e.Offset, Length: e.Length})
}

func (l *loading) cancel() {
	if l.loader != nil {
		l.loader.Cancel()
	}
}
