package blockstore

import (
	"context"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Usage is what the space of a vault's packs serves. Sizes are bytes.
type Usage struct {
	Points  int   // listed
	Named   int64 // records that listed points name
	InTrash int   // points
	Trash   int64 // records that only points in the trash name
	Locked  int   // points whose lock is not over, in the trash or not
	Dead    int64 // records that nothing names, in packs that hold others that are named
	Unnamed int64 // packs that no point names: of backups that run or failed, or of dropped points
	Packs   int64 // all packs
}

// Usage finds out what the vault's packs serve. It walks maps, reads no data
// and writes nothing.
func (v *Vault) Usage(ctx context.Context) (*Usage, error) {
	all, err := v.allPoints(ctx, v.dir.List)
	if err != nil {
		return nil, err
	}
	w, err := v.weighing(ctx, all, v.dir.List)
	if err != nil {
		return nil, err
	}
	trash, err := v.trash(v.dir.List)
	if err != nil {
		return nil, err
	}
	u := &Usage{}
	for _, inTrash := range []bool{false, true} {
		for _, p := range w.points {
			if trash[p.ID] != inTrash {
				continue
			}
			n, err := w.mark(ctx, p)
			if err != nil {
				return nil, err
			}
			if inTrash {
				u.InTrash++
				u.Trash += n
			} else {
				u.Points++
				u.Named += n
			}
		}
	}
	if err := w.countLocked(u); err != nil {
		return nil, err
	}
	return u, w.countPacks(ctx, u)
}

func (w *weighing) countLocked(u *Usage) error {
	return w.v.eachAttributed(w.v.dir.List, func(m MachineID, p PointID) error {
		attrs, err := w.v.attributes(m, p)
		if stateOf(attrs).Locked(time.Now()) {
			u.Locked++
		}
		return err
	})
}

// countPacks adds up packs by whether anything in them is marked.
func (w *weighing) countPacks(ctx context.Context, u *Usage) error {
	live := map[pack.ID]int64{}
	for i, t := range w.m.set.tables {
		for at := range t.Count {
			if !w.m.marked(i, at) {
				continue
			}
			e, err := t.Entry(at)
			if err != nil {
				return err
			}
			live[t.Packs[e.Pack].ID] += int64(e.Length)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return w.v.eachPack(w.v.dir.List, func(writer WriterID, id pack.ID) error {
		n, err := w.v.dir.Size(packPath(writer, id))
		if isNotExist(err) {
			return nil // swept meanwhile
		}
		if u.Packs += n; live[id] == 0 {
			u.Unnamed += n
		} else {
			u.Dead += max(0, n-live[id]-n/64) // what is left for the pack's own lists
		}
		return err
	})
}
