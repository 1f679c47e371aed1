package blockstore

import (
	"context"
	"errors"
)

// CopyReport says what became of the points that were to be copied.
type CopyReport struct {
	Copied    []*Point        // as they are in this vault now
	Present   int             // were there already
	Forgotten int             // were there once and were dropped: they are not copied again
	Damaged   []*CorruptError // one for each point that cannot be read
}

// CopyFrom copies those of some points of another vault that this one does not
// have, in their order, which is to be that of [Vault.Points]: each is committed before the next
// begins, so that a run that ends early is continued by the next. Points that cannot be read are
// reported and passed over. Progress, which may be nil, is told bytes of disks.
func (o *Owner) CopyFrom(ctx context.Context, src *Vault, points []*Point, progress func(p *Point, done, total int64)) (CopyReport, error) {
	var r CopyReport
	if err := o.differs(src); err != nil {
		return r, err
	}
	if err := o.history.load(ctx, o); err != nil {
		return r, err
	}
	var missing []*Point
	var total, before int64
	for _, p := range points {
		if o.history.has(p.Machine, p.ID) {
			r.Present++
			if err := o.importAttributes(src, p, p); err != nil {
				return r, err
			}
			continue
		}
		missing = append(missing, p)
		total += p.Sizes.Logical
	}
	for _, p := range missing {
		set := func(done int64) {
			if progress != nil {
				progress(p, before+done, total)
			}
		}
		set(0)
		q, err := o.Import(ctx, src, p, set)
		var corrupt *CorruptError
		switch {
		case q != nil:
			r.Copied = append(r.Copied, q)
			if err != nil {
				return r, err
			}
		case ctx.Err() != nil:
			return r, ctx.Err()
		case errors.As(err, &corrupt):
			r.Damaged = append(r.Damaged, corrupt)
		case errors.Is(err, ErrForgotten):
			r.Forgotten++
		default:
			return r, err
		}
		before += p.Sizes.Logical
	}
	return r, nil
}
