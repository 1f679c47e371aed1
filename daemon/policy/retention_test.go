package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// pts makes points of words: a time, and what is odd about the point.
func pts(t *testing.T, words ...string) []Point {
	t.Helper()
	var points []Point
	for i, w := range words {
		f := strings.Fields(w)
		when, err := time.Parse("2006-01-02T15:04", f[0])
		if err != nil {
			t.Fatal(err)
		}
		p := Point{ID: fmt.Sprint(i), Time: when, Reached: Filesystem, Disks: []Disk{{Name: "vda"}, {Name: "vdb", Serial: "S2"}}}
		for _, odd := range f[1:] {
			switch odd {
			case "crash":
				p.Reached = Crash
			case "damaged":
				p.Damaged = true
			case "locked":
				p.Locked = time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
			case "unlocked":
				p.Locked = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			case "short":
				p.Disks = p.Disks[:1]
			case "renamed":
				p.Disks = []Disk{{Name: "vda"}, {Name: "sdx", Serial: "S2"}}
			}
		}
		points = append(points, p)
	}
	return points
}

func TestWhatIsKeptIsWhatTheRulesSay(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, zone, points, keep string
		r                        Retention
	}{
		{"without rules all", "", "2026-01-01T22:00,2026-01-02T22:00 damaged", "0 1", Retention{}},
		{"the last two", "", "2026-01-01T22:00,2026-01-02T22:00,2026-01-03T22:00", "1 2", Retention{Last: 2}},
		{"one a day, the newest", "", "2026-01-01T08:00,2026-01-01T22:00,2026-01-02T08:00,2026-01-02T22:00", "1 3", Retention{Daily: 7}},
		{"days without points do not count, however long ago", "", "2020-01-01T22:00,2020-05-01T22:00,2026-01-02T22:00", "1 2", Retention{Daily: 2}},
		{"a day begins at its own midnight", "Europe/Berlin", "2026-01-01T22:30,2026-01-01T23:30,2026-01-02T22:30", "0 2", Retention{Daily: 7}},
		{"a repeated hour is two", "Europe/Berlin", "2026-10-25T00:10,2026-10-25T00:40,2026-10-25T01:10,2026-10-25T01:40", "1 3", Retention{Hourly: 5}},
		{"the day of 25 hours is one", "Europe/Berlin", "2026-10-24T22:00,2026-10-25T22:59,2026-10-25T23:00", "1 2", Retention{Daily: 5}},
		{"weeks begin on Monday, over the end of the year", "", "2025-12-28T00:00,2025-12-29T00:00,2026-01-04T23:59,2026-01-05T00:00", "0 2 3", Retention{Weekly: 5}},
		{"a leap day is a day of February", "", "2028-02-28T00:00,2028-02-29T00:00,2028-03-01T00:00", "1 2", Retention{Monthly: 5}},
		{"a leap day is a day", "", "2028-02-28T00:00,2028-02-29T00:00,2028-03-01T00:00", "0 1 2", Retention{Daily: 5}},
		{"years", "", "2024-12-31T23:59,2025-06-01T00:00,2025-12-31T00:00,2026-01-01T00:00", "0 2 3", Retention{Yearly: 9}},
		{"rules add up", "", "2026-01-30T00:00,2026-01-31T00:00,2026-02-01T00:00,2026-02-02T00:00", "1 2 3", Retention{Daily: 2, Monthly: 2}},
		{"a point that is not good takes no place", "", "2026-01-01T22:00,2026-01-02T22:00,2026-01-03T22:00 crash,2026-01-04T22:00 crash", "0 1 2 3", Retention{Daily: 2}},
		{"those that are not good are counted as well", "", "2026-01-01T22:00,2026-01-02T22:00 crash,2026-01-03T22:00 crash,2026-01-04T22:00 crash", "0 2 3", Retention{Daily: 2}},
		{"a good point of a day is better than a newer one", "", "2026-01-01T08:00,2026-01-01T22:00 crash,2026-01-02T22:00", "0 2", Retention{Daily: 7}},
		{"damaged is not good", "", "2026-01-01T08:00,2026-01-01T22:00 damaged,2026-01-02T22:00", "0 2", Retention{Daily: 7}},
		{"the newest good one stays beyond all counts", "", "2026-01-01T22:00,2026-01-02T22:00 crash,2026-01-03T22:00 crash", "0 2", Retention{Last: 1}},
		{"the newest one stays", "", "2026-01-01T22:00,2026-01-01T23:00 crash", "0 1", Retention{Yearly: 1}},
		{"locked stays", "", "2026-01-01T22:00 locked,2026-01-02T22:00 unlocked,2026-01-03T22:00", "0 2", Retention{Last: 1}},
		{"a disk that is missing makes no good point, for good", "", "2026-01-01T22:00,2026-01-02T22:00 short,2026-01-03T22:00 short", "0 2", Retention{Last: 1}},
		{"a disk that came back does", "", "2026-01-01T22:00,2026-01-02T22:00 short,2026-01-03T22:00", "2", Retention{Last: 1}},
		{"a disk that was renamed is there", "", "2026-01-01T22:00,2026-01-02T22:00 renamed", "1", Retention{Last: 1}},
		{"a disk more is no harm", "", "2026-01-01T22:00 short,2026-01-02T22:00", "1", Retention{Last: 1}},
		{"a clock that was set back does not hide the newest", "", "2031-01-01T22:00,2026-01-02T22:00,2026-01-03T22:00", "0 2", Retention{Last: 1, Yearly: 2}},
		{"none", "", "", "", Retention{Last: 1}},
	} {
		r := Rules{Retention: c.r, Zone: zone(t, c.zone), Consistency: Filesystem}
		points := pts(t, strings.FieldsFunc(c.points, func(r rune) bool { return r == ',' })...)
		var kept []string
		for i, v := range r.Decide(points, now) {
			if v.Keep {
				kept = append(kept, fmt.Sprint(i))
			}
			if len(v.Why) == 0 {
				t.Errorf("%s: nothing is said of point %d", c.name, i)
			}
		}
		if got := strings.Join(kept, " "); got != c.keep {
			t.Errorf("%s: kept %q, want %q", c.name, got, c.keep)
		}
	}
	points := pts(t, "2026-01-01T22:00", "2026-01-02T22:00 short", "2026-01-03T22:00 short")
	if v := (Rules{Retention: Retention{Last: 1}, Exclude: []string{"vdb"}}).Decide(points, now); v[0].Keep || !v[2].Keep {
		t.Errorf("a disk that nobody misses any more keeps old points: %+v", v)
	}
}

func TestReasonsNameTheRuleAndThePeriod(t *testing.T) {
	t.Parallel()
	points := pts(t, "2026-01-01T22:00", "2026-01-02T08:00", "2026-01-02T22:00", "2026-01-03T22:00 crash", "2026-01-04T22:00 locked")
	v := Rules{Retention: Retention{Daily: 2}, Consistency: Filesystem}.Decide(points, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC))
	for i, want := range []string{"daily: past the 2 that are kept", "daily: 2026-01-02 has a newer point", "daily 2/2 (2026-01-02)",
		"daily 2/2 (2026-01-03), where no point is good", "daily 1/2 (2026-01-04) the newest the newest good point locked until 2040-01-01"} {
		if got := strings.Join(v[i].Why, " "); got != want {
			t.Errorf("point %d: %q, want %q", i, got, want)
		}
	}
	if v[3].Flaw != "crash, not filesystem" {
		t.Errorf("flaw %q", v[3].Flaw)
	}
}

// TestAYearOfPointsIsWhatASlowModelSays compares, with random points that are pruned as they
// are made, what is kept with what the rules say in the plainest way.
func TestAYearOfPointsIsWhatASlowModelSays(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 6))
		r := Rules{Zone: zone(t, []string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"}[seed%4]), Consistency: Filesystem,
			Retention: Retention{Last: rnd.IntN(4), Hourly: rnd.IntN(30), Daily: rnd.IntN(10), Weekly: rnd.IntN(6), Monthly: rnd.IntN(14), Yearly: 1 + rnd.IntN(3)}}
		now := time.Date(2027, 11, 1, 0, 0, 0, 0, time.UTC) // a leap year is ahead
		end := now.AddDate(1, 1, 0)
		var points []Point
		for n := 0; now.Before(end); n++ {
			now = now.Add(time.Duration(1+rnd.IntN(24*60)) * time.Minute)
			p := Point{ID: fmt.Sprint(n), Time: now, Reached: Filesystem, Damaged: rnd.IntN(20) == 0}
			if rnd.IntN(5) == 0 {
				p.Reached = Crash
			}
			if rnd.IntN(40) == 0 {
				p.Locked = now.Add(time.Duration(rnd.IntN(1000)) * time.Hour)
			}
			points = append(points, p)
			if rnd.IntN(3) > 0 {
				continue // pruning is not done each time
			}
			points = checkAgainstModel(t, r, points, now, seed)
		}
		if len(points) > 250 {
			t.Errorf("seed %d: %d points are left by %s", seed, len(points), r.Retention)
		}
	}
}

func checkAgainstModel(t *testing.T, r Rules, points []Point, now time.Time, seed uint64) (kept []Point) {
	t.Helper()
	want := modelKeeps(r, points, now)
	for i, v := range r.Decide(points, now) {
		if v.Keep != want[points[i].ID] {
			t.Fatalf("seed %d, %s: point of %s: keep %v for %q, the model says otherwise", seed, r.Retention, points[i].Time, v.Keep, v.Why)
		}
		if v.Keep {
			kept = append(kept, points[i])
		}
	}
	for i, v := range r.Decide(kept, now) {
		if !v.Keep {
			t.Fatalf("seed %d: what was kept is pruned when asked again: %s %q", seed, kept[i].Time, v.Why)
		}
	}
	return kept
}

// modelKeeps finds the same with sorted lists of periods.
func modelKeeps(r Rules, points []Point, now time.Time) map[string]bool {
	keep := map[string]bool{}
	good := func(p Point) bool { return p.Reached != Crash && !p.Damaged }
	for _, rule := range []struct {
		n      int
		layout string
	}{{r.Retention.Last, time.RFC3339Nano}, {r.Retention.Hourly, "2006010215-0700"}, {r.Retention.Daily, "20060102"}, {r.Retention.Weekly, ""}, {r.Retention.Monthly, "200601"}, {r.Retention.Yearly, "2006"}} {
		newestGood, newest := map[string]Point{}, map[string]Point{}
		for _, p := range points {
			local := p.Time.In(r.Zone)
			name := local.Format(rule.layout)
			if rule.layout == "" { // the Monday of the week
				for local.Weekday() != time.Monday {
					local = local.AddDate(0, 0, -1)
				}
				name = local.Format("20060102")
			}
			if newest[name] = p; good(p) {
				newestGood[name] = p
			}
		}
		byTime := func(m map[string]Point) []Point {
			var all []Point
			for _, p := range m {
				all = append(all, p)
			}
			slices.SortFunc(all, func(a, b Point) int { return b.Time.Compare(a.Time) })
			return all[:min(rule.n, len(all))]
		}
		for _, p := range byTime(newestGood) {
			keep[p.ID] = true
		}
		for _, p := range byTime(newest) {
			var name string
			for n, q := range newest {
				if q.ID == p.ID {
					name = n
				}
			}
			if _, has := newestGood[name]; !has {
				keep[p.ID] = true
			}
		}
	}
	newestGood := ""
	for _, p := range points {
		if good(p) {
			newestGood = p.ID
		}
		keep[p.ID] = keep[p.ID] || now.Before(p.Locked)
	}
	keep[newestGood], keep[points[len(points)-1].ID] = true, true
	return keep
}

func TestASimulationOf400DaysEndsWithWhatTheCountsPromise(t *testing.T) {
	t.Parallel()
	r := Rules{Retention: Retention{Daily: 7, Weekly: 4, Monthly: 12}, Zone: zone(t, "Europe/Berlin")}
	from := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	s := Simulate(timetable(t, "daily at 22:00", "", "Europe/Berlin", 0), r, from, 400)
	if s.Runs != 400 || s.Runs != s.Pruned+len(s.Kept) || s.Longest != 25*time.Hour || len(s.Days) != 400 || s.Days[0] != 1 {
		t.Errorf("%d runs, %d pruned, %d kept, longest %s", s.Runs, s.Pruned, len(s.Kept), s.Longest)
	}
	if n := len(s.Kept); n < 12 || n > 23 || len(s.Why) != n {
		t.Errorf("%d are kept", n)
	}
	if age := from.AddDate(0, 0, 400).Sub(s.Kept[0].Time); age < 300*24*time.Hour {
		t.Errorf("the oldest is of %s", s.Kept[0].Time)
	}
	if s := Simulate(timetable(t, "every 5m", "", "", 0), Rules{Retention: Retention{Last: 3}}, from, 40); s.Runs != 40*288 || len(s.Kept) != 3 {
		t.Errorf("%d runs, %d kept", s.Runs, len(s.Kept))
	}
	if s := Simulate(Timetable{}, r, from, 400); s.Runs != 0 || len(s.Kept) != 0 {
		t.Errorf("without a schedule: %+v", s)
	}
}

func BenchmarkAYearOf200Machines(b *testing.B) {
	var points []Point
	for i := range 365 {
		points = append(points, Point{Time: time.Date(2026, 1, 1+i, 22, 0, 0, 0, time.UTC), Reached: Filesystem, Disks: []Disk{{Name: "vda"}}})
	}
	r := Rules{Retention: Retention{3, 24, 7, 4, 12, 3}, Zone: zone(b, "Europe/Berlin")}
	for b.Loop() {
		for range 200 {
			r.Decide(points, points[0].Time)
		}
	}
}
