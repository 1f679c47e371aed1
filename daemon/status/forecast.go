package status

import (
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

const (
	week     = 7 * 24 * time.Hour
	maxWeeks = 8
	// horizon is how far ahead a forecast looks.
	horizon = 10 * 365 * 24 * time.Hour
)

// Forecast says when so many bytes are used up, from what the points of the last weeks added. The
// first points of machines are left out: they come once. It is nil where less than two weeks are known, and
// nothing of what sweeps free is counted: it errs towards too early.
func Forecast(points []Point, room int64, now time.Time) *api.Growth {
	var oldest time.Time
	added := make([]int64, maxWeeks) // by weeks before now
	for i := range points {
		p := &points[i]
		if p.Committed.After(now) {
			continue
		}
		if oldest.IsZero() || p.Committed.Before(oldest) {
			oldest = p.Committed
		}
		if at := int(now.Sub(p.Committed) / week); at < maxWeeks && !p.First {
			added[at] += p.Sizes.Stored
		}
	}
	weeks := 0
	if !oldest.IsZero() {
		weeks = min(int(now.Sub(oldest)/week), maxWeeks)
	}
	if weeks < 2 {
		return nil
	}
	added = added[:weeks]
	var sum int64
	for _, n := range added {
		sum += n
	}
	g := &api.Growth{PerDay: sum / int64(7*weeks), Least: slices.Min(added) / 7, Most: slices.Max(added) / 7, Days: 7 * weeks}
	g.Full, g.Early, g.Late = usedUp(room, g.PerDay, now), usedUp(room, g.Most, now), usedUp(room, g.Least, now)
	return g
}

// usedUp says when room is used up at a rate; nil: not within the horizon.
func usedUp(room, perDay int64, now time.Time) *api.Time {
	if room <= 0 {
		t := api.At(now)
		return &t
	}
	if perDay <= 0 {
		return nil
	}
	days := float64(room) / float64(perDay)
	if days > horizon.Hours()/24 {
		return nil
	}
	t := api.At(now.Add(time.Duration(days * 24 * float64(time.Hour))))
	return &t
}
