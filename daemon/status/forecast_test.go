package status

import (
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestAForecastBelievesWhatWasMeasuredBeforeWhatWasStored(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	var points []Point
	for d := 60; d >= 0; d-- {
		p := ago(time.Duration(d)*day + time.Hour)
		p.Sizes.Stored = 100
		points = append(points, p)
	}
	// Each day stores 100, and each seventh a sweep frees 560: 20 a day are left.
	var daily []Sample
	used := int64(10_000)
	for d := 40; d >= 0; d-- {
		if used += 100; d%7 == 0 {
			used -= 560
		}
		daily = append(daily, Sample{now.Add(-time.Duration(d) * day), used})
	}
	first := ago(10 * day)
	first.First, first.Sizes.Stored = true, 5000
	withFirst := slices.Clone(daily)
	for i := range withFirst {
		if !withFirst[i].At.Before(first.Committed) {
			withFirst[i].Used += 5000
		}
	}
	weekly := []Sample{daily[5], daily[12], daily[40]} // with a gap
	shrinks := []Sample{{now.Add(-30 * day), 9000}, {now, 6000}}
	stale := daily[:20]
	for _, c := range []struct {
		name     string
		points   []Point
		used     []Sample
		perDay   int64
		measured bool
	}{
		{"daily", points, daily, 20, true}, {"with a first point", append(slices.Clone(points), first), withFirst, 20, true}, {"with a gap", points, weekly, 20, true},
		{"it shrinks", points, shrinks, -100, true}, {"not measured of late", points, stale, 100, false}, {"less than two weeks", points, daily[30:], 100, false},
		{"of the future", points, []Sample{{now.Add(day), 1}, {now.Add(2 * day), 1}}, 100, false},
	} {
		g := forecast(c.points, c.used, 1000, now)
		if g == nil || g.Measured != c.measured || g.PerDay < c.perDay-7 || g.PerDay > c.perDay+7 {
			t.Errorf("%s: %+v", c.name, g)
		}
		if g != nil && g.PerDay < 0 && g.Full != nil {
			t.Errorf("%s: it is full at %v", c.name, g.Full)
		}
	}
}

func TestAForecastSaysHowSureItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		stored            func(day int) int64 // by days ago
		days              int
		room              int64
		full, early, late float64 // days from now; 0: never
		none              bool
	}{
		{"steady", func(int) int64 { return 10 }, 60, 1000, 100, 100, 100, false},
		{"faster of late", func(d int) int64 {
			if d < 7 {
				return 40
			}
			return 10
		}, 60, 1000, 1000.0 / 13, 25, 100, false},
		{"nothing is added", func(int) int64 { return 0 }, 60, 1000, 0, 0, 0, false},
		{"less than two weeks", func(int) int64 { return 10 }, 12, 1000, 0, 0, 0, true},
		{"a quiet week", func(d int) int64 {
			if d >= 7 && d < 14 {
				return 0
			}
			return 10
		}, 30, 1000, 133, 100, 0, false},
		{"full already", func(int) int64 { return 0 }, 30, -5, 0.001, 0.001, 0.001, false},
		{"not in ten years", func(int) int64 { return 1 }, 30, 1 << 50, 0, 0, 0, false},
	} {
		var points []Point
		for d := c.days; d >= 0; d-- {
			p := ago(time.Duration(d)*24*time.Hour + time.Hour)
			p.Sizes.Stored = c.stored(d)
			points = append(points, p)
		}
		first := points[0]
		first.First, first.Sizes.Stored = true, 1<<40 // comes once
		g := forecast(append(points, first), nil, c.room, now)
		if (g == nil) != c.none {
			t.Errorf("%s: %+v", c.name, g)
		}
		if g == nil {
			continue
		}
		for what, pair := range map[string][2]any{"full": {g.Full, c.full}, "early": {g.Early, c.early}, "late": {g.Late, c.late}} {
			got, want := pair[0].(*api.Time), pair[1].(float64)
			if (got == nil) != (want == 0) || got != nil && (got.Sub(now).Hours()/24 > want*1.15 || got.Sub(now).Hours()/24 < want*.85-1) {
				t.Errorf("%s, %s: %v, want in %v days (%+v)", c.name, what, got, want, g)
			}
		}
	}
}

func TestATrendComparesWithAMonthBefore(t *testing.T) {
	t.Parallel()
	m := healthy()
	m.Points = nil
	for d := 90; d >= 0; d-- {
		p := ago(time.Duration(d) * 24 * time.Hour)
		p.Sizes.Protected = int64(1000 - d)
		m.Points = append(m.Points, p)
	}
	s := Compose(Facts{Now: now, Vaults: []VaultFacts{wellVault(m)}}).Machines[0]
	if s.Trend != 30 || s.TrendDays != 30 || s.Protects != 1000 {
		t.Errorf("%d in %d days, %d", s.Trend, s.TrendDays, s.Protects)
	}
	m.Points = m.Points[len(m.Points)-1:]
	if s := Compose(Facts{Now: now, Vaults: []VaultFacts{wellVault(m)}}).Machines[0]; s.TrendDays != 0 {
		t.Errorf("one point has a trend of %d days", s.TrendDays)
	}
}
