package blockstore

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore/diskmap"
)

// sendSame sends a run that holds what the parent holds. Where the vault has
// lost what the parent names there, the source is read instead, so that it is
// stored again.
func (in *ingest) sendSame(ctx context.Context, first, n int64) error {
	if in.parent != nil && n > 0 {
		// The pages that lead to both ends of the run are read when it is mapped: damage
		// in them is to be known before.
		in.parentIDs(ctx, first, 1)
		in.parentIDs(ctx, first+n-1, 1)
	}
	if in.parent == nil || !in.b.o.damage.any() {
		return in.send(ctx, &chunk{first: first, n: n, kind: Same})
	}
	at, end := first, first+n
	err := in.b.lostIn(ctx, in.parent, first, n, func(from, to int64) error {
		from, to = max(from, at), min(to, end)
		if from >= to {
			return nil
		}
		if from > at {
			if err := in.send(ctx, &chunk{first: at, n: from - at, kind: Same}); err != nil {
				return err
			}
		}
		at = to
		return in.sendData(ctx, from, to-from)
	})
	if err != nil || at == end {
		return err
	}
	return in.send(ctx, &chunk{first: at, n: end - at, kind: Same})
}

// lostIn calls fn for the ranges of blocks of a map that lead to something
// lost, ascending. It reads pages only.
func (b *Backup) lostIn(ctx context.Context, m *diskmap.Map, first, n int64, fn func(from, to int64) error) error {
	d := &b.o.damage
	return m.Visit(ctx, first, n, diskmap.Visitor{
		Page: func(id ID, level int, at int64) (bool, error) {
			if d.isLost(id) {
				return false, fn(at, at+diskmap.Span(level))
			}
			return true, nil
		},
		Broken: func(e *diskmap.PageError) error { return fn(e.First, e.First+e.Blocks) },
		Blocks: func(at int64, ids []ID) error {
			for i, id := range ids {
				if d.isLost(id) {
					if err := fn(at+int64(i), at+int64(i)+1); err != nil {
						return err
					}
				}
			}
			return nil
		},
	})
}

// harmed tells whether a disk of the parent names anything that is lost.
func (b *Backup) harmed(info *DiskInfo) (harmed bool, err error) {
	if !b.o.damage.any() {
		return false, nil
	}
	m := b.o.diskMap(info)
	err = b.lostIn(context.Background(), m, 0, m.Blocks, func(int64, int64) error {
		harmed = true
		return nil
	})
	return harmed, err
}
