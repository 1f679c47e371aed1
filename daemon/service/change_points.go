package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// changePoints does the same to some points: to all or, where one is not found or the request is
// not understood, to none. What it returns beside an error was done.
func changePoints(ctx context.Context, o *blockstore.Owner, r api.PointsRequest, now time.Time) ([]api.PointChange, error) {
	in, do, err := pointChange(o, r, now)
	if err != nil {
		return nil, err
	}
	points, err := FindPoints(ctx, o.Vault, r.Points, in)
	if err != nil {
		return nil, err
	}
	changes := make([]api.PointChange, 0, len(points))
	for _, p := range points {
		err := ctx.Err()
		if err == nil {
			err = do(p)
		}
		if err != nil {
			if len(changes) > 0 {
				err = fmt.Errorf("%w (%d of %d points were done before)", err, len(changes), len(points))
			}
			return changes, err
		}
		c, err := describeChange(o, p)
		if err != nil {
			return changes, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// pointChange says among which points a change looks, and what it does to one.
func pointChange(o *blockstore.Owner, r api.PointsRequest, now time.Time) (in Where, do func(*blockstore.Point) error, err error) {
	switch {
	case len(r.Points) == 0:
		return 0, nil, invalidf("no point is named")
	case r.Change == api.DeletePoint:
		return Listed, o.Delete, nil
	case r.Change == api.UndeletePoint:
		return Trashed, o.Undelete, nil
	case r.Change == api.LockPoint && (r.Until == nil || !r.Until.After(now)):
		return 0, nil, invalidf("a lock needs a time to come until which it holds")
	case r.Change == api.LockPoint && r.Until.After(now.Add(LongestLock)):
		return 0, nil, invalidf("a lock of more than 100 years cannot be meant, and could not be undone")
	case r.Change == api.LockPoint:
		return Anywhere, func(p *blockstore.Point) error { return o.Lock(p, r.Until.Time) }, nil
	case r.Change == api.NotePoint:
		return Anywhere, func(p *blockstore.Point) error { return o.Note(p, r.Note) }, nil
	}
	return 0, nil, invalidf("there is no change %.40q of points: delete, undelete, lock and note are", r.Change)
}

// LongestLock is how long a lock may be: what is longer is a slip of the finger rather than a
// wish, since nothing takes a lock away.
const LongestLock = 100 * 365 * 24 * time.Hour

func describeChange(o *blockstore.Owner, p *blockstore.Point) (c api.PointChange, err error) {
	s, err := o.State(p)
	if err != nil {
		return c, err
	}
	c.Point = DescribeState(p, s)
	if !s.Deleted.IsZero() {
		on := api.At(s.Expires(o.Info().TrashDays))
		c.ExpiresOn = &on
	}
	return c, nil
}

// giveUpPoint drops a damaged point for good.
func giveUpPoint(ctx context.Context, o *blockstore.Owner, ref api.PointRef) (c api.PointChange, err error) {
	machine, id, err := FindHarmed(ctx, o.Vault, ref)
	if err != nil {
		return c, err
	}
	err = o.GiveUp(ctx, machine, id)
	if errors.Is(err, blockstore.ErrWhole) {
		return c, Hinted(err, "a point that is whole goes to the trash with `holdfast point delete`")
	}
	c.Point.ID, c.Point.Machine, c.Point.MachineID = string(id), ref.Machine, string(machine)
	return c, err
}
