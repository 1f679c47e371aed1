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

// Sample is how much of a file system was in use at some time.
type Sample struct {
	At   time.Time `json:"at"`
	Used int64     `json:"used"` // bytes
}

// forecast says when so many bytes are used up: from what was measured, where that is known of two weeks at least,
// else from what the points of the last weeks added, which errs towards too early, since nothing of what sweeps free
// is counted. The first points of machines are left out: they come once. It is nil where neither is known of two weeks.
func forecast(points []Point, measured []Sample, room int64, now time.Time) *api.Growth {
	var g *api.Growth
	if added := gained(points, measured, now); added != nil {
		g = growth(added)
		g.Measured = true
	} else if added := stored(points, now); added != nil {
		g = growth(added)
	} else {
		return nil
	}
	g.Full, g.Early, g.Late = usedUp(room, g.PerDay, now), usedUp(room, g.Most, now), usedUp(room, g.Least, now)
	return g
}

// growth is at what pace weeks added what they did.
func growth(added []int64) *api.Growth {
	var sum int64
	for _, n := range added {
		sum += n
	}
	weeks := len(added)
	return &api.Growth{PerDay: sum / int64(7*weeks), Least: slices.Min(added) / 7, Most: slices.Max(added) / 7, Days: 7 * weeks}
}

// gained is what a file system gained in each of the last weeks, the newest first, without the first points of
// machines; nil where less than two weeks were measured.
func gained(points []Point, measured []Sample, now time.Time) []int64 {
	measured = slices.DeleteFunc(slices.Clone(measured), func(s Sample) bool { return s.At.After(now) })
	slices.SortFunc(measured, func(a, b Sample) int { return a.At.Compare(b.At) })
	if len(measured) < 2 || now.Sub(measured[len(measured)-1].At) > week {
		return nil
	}
	weeks := min(int(now.Sub(measured[0].At)/week), maxWeeks)
	if weeks < 2 {
		return nil
	}
	added := make([]int64, weeks)
	for i := range added {
		added[i] = usedAt(measured, now.Add(-time.Duration(i)*week)) - usedAt(measured, now.Add(-time.Duration(i+1)*week))
	}
	for i := range points {
		if p := &points[i]; p.First && !p.Committed.After(now) {
			if at := int(now.Sub(p.Committed) / week); at < weeks {
				added[at] -= p.Sizes.Stored
			}
		}
	}
	return added
}

// usedAt is how much was in use at a time: between two samples, in proportion.
func usedAt(measured []Sample, at time.Time) int64 {
	i, _ := slices.BinarySearchFunc(measured, at, func(s Sample, t time.Time) int { return s.At.Compare(t) })
	switch {
	case i == len(measured):
		return measured[i-1].Used
	case i == 0:
		return measured[0].Used
	}
	a, b := measured[i-1], measured[i]
	part := float64(at.Sub(a.At)) / float64(max(b.At.Sub(a.At), 1))
	return a.Used + int64(part*float64(b.Used-a.Used))
}

// stored is what points added in each of the last weeks, the newest first; nil where less than two weeks are known.
func stored(points []Point, now time.Time) []int64 {
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
	return added[:weeks]
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
