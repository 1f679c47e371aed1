package blockstore

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Survey is what somebody who watches over a vault asks of it, found by one look at its folders.
type Survey struct {
	Listed, Trash []*Point     // as of PointsAndTrash
	States        []PointState // of the listed points, then of those in the trash
	Harmed        map[PointID]bool
	Health        *Health
}

// Survey is [Vault.PointsAndTrash], [Vault.States], [Vault.Harmed] and [Vault.Health] together. No folder is
// listed twice, and one that did not change since a survey before is not read: see [backend.Dir.Glance]. Where
// something cannot be read, the rest is returned with the error; without points there is no rest.
func (v *Vault) Survey(ctx context.Context, now time.Time) (*Survey, error) {
	list, s := once(v.dir.Glance), &Survey{}
	var unlisted, err error
	if s.Listed, s.Trash, unlisted = v.pointsAndTrash(ctx, list); unlisted != nil && len(s.Listed) == 0 {
		return nil, unlisted
	}
	errs := []error{unlisted}
	all := make([]*Point, 0, len(s.Listed)+len(s.Trash))
	all = append(append(all, s.Listed...), s.Trash...)
	s.States, err = v.states(all, list)
	errs = append(errs, err)
	s.Harmed, err = v.harmed(ctx, s.Listed, list)
	errs = append(errs, err)
	s.Health, err = v.health(ctx, now, list)
	return s, errors.Join(append(errs, err, ctx.Err())...)
}

// once is a lister that lists each folder once.
func once(list lister) lister {
	type listing struct {
		names []string
		err   error
	}
	var mu sync.Mutex
	listed := map[string]listing{}
	return func(folder string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		l, known := listed[folder]
		if !known {
			l.names, l.err = list(folder)
			listed[folder] = l
		}
		return l.names, l.err
	}
}
