package blockstore

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// Mend rewrites packs whose header or footer is damaged, as [CheckReport.Torn]
// lists them: what points name in them is copied into new packs, each record after its hash
// matched, and they are removed. One that a running backup relies on, or that
// holds what cannot be read, stays. It returns how many are gone.
func (o *Owner) Mend(ctx context.Context, packs []pack.ID) (mended int, err error) {
	mend := map[pack.ID]bool{}
	for _, id := range packs {
		if o.isTorn(id) {
			mend[id] = true
		}
	}
	if len(mend) == 0 {
		return 0, nil
	}
	report, err := o.Sweep(ctx, SweepOptions{mend: mend})
	if report != nil {
		mended = report.Removed
	}
	return mended, err
}

// isTorn tells whether the header or the footer of a pack that is there is
// damaged.
func (o *Owner) isTorn(id pack.ID) bool {
	f, err := o.dir.Open(packPath(o.claim.owner.Writer, id))
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return false
	}
	if _, err := pack.ReadHeader(f); errors.Is(err, pack.ErrDamaged) {
		return true
	}
	_, err = pack.ReadFooter(f, st.Size(), id)
	return errors.Is(err, pack.ErrDamaged)
}
