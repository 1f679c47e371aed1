package service

import (
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// DescribeState returns p with what its attributes come to.
func DescribeState(p *blockstore.Point, s blockstore.PointState) api.Point {
	a := DescribePoint(p)
	a.Deleted, a.Locked, a.Note = maybe(s.Deleted), maybe(s.Until), s.Note
	a.Verified = maybe(s.Verified)
	return a
}

// describeSweep returns what a sweep did or, when dry, would do.
func describeSweep(r *blockstore.SweepReport, dry bool) api.Sweep {
	return api.Sweep{
		Dry: dry, Dropped: DescribePoints(r.Dropped), PutBack: r.PutBack, Packs: r.Packs, Removed: r.Removed,
		Rewritten: r.Rewritten, Freed: r.Freed, Copied: r.Copied, Live: r.Live, Trash: r.Trash, TrashUntil: maybe(r.TrashUntil),
		Dead: r.Dead, Pinned: r.Pinned, Young: r.Young, YoungUntil: maybe(r.YoungUntil), NoRoom: r.NoRoom, Damaged: r.Damaged,
	}
}

// DescribeExclusive returns what dropping points frees, sizes being those that
// [blockstore.Vault.Exclusive] returned for them.
func DescribeExclusive(points []*blockstore.Point, sizes []int64) api.Exclusive {
	e := api.Exclusive{Points: make([]api.ExclusivePoint, 0, len(points))}
	for i, p := range points {
		e.Points = append(e.Points, api.ExclusivePoint{Machine: p.MachineName, ID: string(p.ID), Bytes: sizes[i]})
		e.Bytes += sizes[i]
	}
	return e
}

// DescribePlan returns what to give up for some space.
func DescribePlan(p *blockstore.FreePlan) api.FreePlan {
	a := api.FreePlan{Wanted: p.Wanted, Trash: p.Trash, Bytes: p.Frees, Enough: p.Frees >= p.Wanted, Points: make([]api.ExclusivePoint, 0, len(p.Points))}
	for _, q := range p.Points {
		a.Points = append(a.Points, api.ExclusivePoint{Machine: q.MachineName, ID: string(q.ID), Bytes: q.Frees})
	}
	return a
}

// maybe is nil for a time that is not.
func maybe(t time.Time) *api.Time {
	if t.IsZero() {
		return nil
	}
	a := api.At(t)
	return &a
}
