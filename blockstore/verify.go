package blockstore

import (
	"context"
	"errors"
)

// NoteVerified adds to each point that a check of data examined, and that
// nothing harms, since when all of the vault was read back. Points that were told so since, or
// were committed since, are left as they are. It returns how many it told.
func (o *Owner) NoteVerified(ctx context.Context, r *CheckReport) (count int, err error) {
	if r.ReadSince.IsZero() {
		return 0, nil
	}
	harmed := map[PointID]bool{}
	for _, f := range r.Faults {
		for _, h := range f.Harms {
			harmed[h.Point] = true
		}
	}
	since := r.ReadSince.UTC()
	for _, p := range r.examined {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		if harmed[p.ID] || !p.Committed.Before(since) {
			continue
		}
		told := false
		err := o.change(p, Attribute{Kind: Verified, Time: since}, func(s PointState) (bool, error) {
			told = s.Verified.Before(since)
			return told, nil
		})
		switch {
		case errors.Is(err, ErrNotFound): // dropped meanwhile
		case err != nil:
			return count, err
		case told:
			count++
		}
	}
	return count, nil
}
