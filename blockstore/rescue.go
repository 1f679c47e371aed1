package blockstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// rescue stores again what is whole in packs that were cut short, which are not relied on any more. Often their
// footer alone is missing, and nothing that points name: without its content in another pack, no sweep would
// remove anything. Pieces that a good pack holds, too, are left.
func (o *Owner) rescue(ctx context.Context) error {
	var errs []error
	for _, id := range o.cutOff {
		n, err := o.rescuePack(ctx, id)
		if err != nil {
			errs = append(errs, fmt.Errorf("store again what is whole in pack %s: %w", id, err))
		}
		if n > 0 {
			o.warn(fmt.Sprintf("pack %s: what is whole in it was stored again, %d pieces", id, n))
		}
	}
	return errors.Join(errs...)
}

// rescuePack returns how many records of a pack were stored again, durably.
func (o *Owner) rescuePack(ctx context.Context, id pack.ID) (stored int, err error) {
	f, err := o.dir.Open(packPath(o.claim.owner.Writer, id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	// A backup that is never committed: what it counts on is sealed by seal.
	b := &Backup{o: o, counts: map[*openPack]bool{}, sweeps: o.opts.Reclaim}
	defer o.store.unpin(b)
	opener := o.opener(id)
	var rec, plain []byte
	err = pack.Salvage(f, st.Size(), opener, func(e pack.Entry) error {
		if err := ctx.Err(); err != nil || o.hasGoodCopy(e.ID) {
			return err
		}
		rec = append(rec[:0], make([]byte, e.Length)...)
		if _, err := f.ReadAt(rec, int64(e.Offset)); err != nil {
			return err
		}
		if plain, err = opener.Unseal(plain, rec); err != nil {
			return err
		}
		n, err := o.put(e.Kind, e.ID, plain, b)
		if n > 0 {
			stored++
		}
		return err
	})
	if err != nil || stored == 0 {
		return 0, err
	}
	if err := b.seal(); err != nil {
		return 0, err
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	return stored, o.writeSegment(nil)
}
