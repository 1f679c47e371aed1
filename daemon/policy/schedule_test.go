package policy

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	a, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheNextRunsAreThoseThatTheWordsSay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, zone, after, next string }{
		{"daily at 22:00", "", "2026-11-22T21:59:59Z", "2026-11-22T22:00:00Z 2026-11-23T22:00:00Z"},
		{"daily at 22:00", "", "2026-11-22T22:00:00Z", "2026-11-23T22:00:00Z"},
		{"Daily AT 22:00 and 6:00", "", "2026-11-22T22:00:00Z", "2026-11-23T06:00:00Z 2026-11-23T22:00:00Z"},
		{"daily", "Asia/Kolkata", "2026-11-22T00:00:00Z", "2026-11-22T18:30:00Z 2026-11-23T18:30:00Z"},
		{"hourly", "Asia/Kolkata", "2026-11-22T00:00:00Z", "2026-11-22T00:30:00Z 2026-11-22T01:30:00Z"},
		{"weekdays at 01:00", "", "2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z 2026-11-23T01:00:00Z"},
		{"weekends at 01:00", "", "2026-11-20T00:00:00Z", "2026-11-21T01:00:00Z 2026-11-22T01:00:00Z 2026-11-28T01:00:00Z"},
		{"weekly on sunday at 03:00", "", "2026-11-20T00:00:00Z", "2026-11-22T03:00:00Z 2026-11-29T03:00:00Z"},
		{"weekly", "", "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z"},
		{"weekly on mon, wed and fri at 01:30", "", "2026-11-20T02:00:00Z", "2026-11-23T01:30:00Z 2026-11-25T01:30:00Z 2026-11-27T01:30:00Z"},
		{"monthly on 1 at 04:00", "", "2026-11-20T00:00:00Z", "2026-12-01T04:00:00Z 2027-01-01T04:00:00Z"},
		{"monthly on the 15th", "", "2026-11-20T00:00:00Z", "2026-12-15T00:00:00Z"},
		{"monthly on last day at 04:00", "", "2028-01-31T05:00:00Z", "2028-02-29T04:00:00Z 2028-03-31T04:00:00Z 2028-04-30T04:00:00Z"},
		{"monthly on last day at 04:00", "", "2027-02-01T05:00:00Z", "2027-02-28T04:00:00Z"},
		{"0 22 * * 1-5", "", "2026-11-20T22:00:00Z", "2026-11-23T22:00:00Z"},
		{"*/15 3 * * *", "", "2026-11-20T03:20:00Z", "2026-11-20T03:30:00Z 2026-11-20T03:45:00Z 2026-11-21T03:00:00Z"},
		{"@daily", "", "2026-11-20T03:20:00Z", "2026-11-21T00:00:00Z"},
		{"every 4h", "", "2026-11-20T03:20:00Z", "2026-11-20T04:00:00Z 2026-11-20T08:00:00Z"},
		{"every 30 minutes", "", "2026-11-20T03:30:00Z", "2026-11-20T04:00:00Z"},
		{"every day", "", "1999-12-31T03:30:00Z", "2000-01-01T00:00:00Z"},
		// A leap day, and the end of a century that has none.
		{"0 5 29 2 *", "", "2024-02-29T05:00:00Z", "2028-02-29T05:00:00Z"},
		{"0 5 29 2 *", "", "2096-02-29T05:00:00Z", "2104-02-29T05:00:00Z"},
		// 29 March 2026: 02:00 to 03:00 is skipped in Berlin.
		{"daily at 02:30", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"*/20 2 * * *", "Europe/Berlin", "2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z 2026-03-30T00:00:00Z 2026-03-30T00:20:00Z"},
		{"hourly", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z 2026-03-29T02:00:00Z"},
		// 25 October 2026: 02:00 to 03:00 is there twice.
		{"daily at 02:30", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"daily at 02:30", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00Z"},
		{"hourly", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z 2026-10-25T02:00:00Z"},
		{"every 4h", "Europe/Berlin", "2026-10-24T20:00:00Z", "2026-10-24T23:00:00Z 2026-10-25T03:00:00Z"},
		{"daily at 03:00", "Europe/Berlin", "2026-10-25T00:59:59Z", "2026-10-25T02:00:00Z"},
		// Days that begin at one o'clock, half an hour of saving, and a day that was left out.
		{"daily", "America/Asuncion", "2023-09-30T12:00:00Z", "2023-10-01T04:00:00Z 2023-10-02T03:00:00Z"},
		{"daily at 02:15", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
		{"daily at 12:00", "Pacific/Apia", "2011-12-29T21:00:00Z", "2011-12-29T22:00:00Z 2011-12-30T10:00:00Z 2011-12-30T22:00:00Z"},
	} {
		s, err := ParseSchedule(c.text, zone(t, c.zone))
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		next := at(t, c.after)
		for _, want := range strings.Fields(c.next) {
			if next = s.Next(next); !next.Equal(at(t, want)) {
				t.Errorf("%s %s after %s: %s, want %s", c.text, c.zone, c.after, next.UTC().Format(time.RFC3339), want)
				break
			}
		}
	}
}

func TestWhatIsNoScheduleIsRefusedInWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "1 to 200 characters", "dayly at 22:00": "not understood", "daily at 25:00": "no time of day", "daily at 22": "no time of day",
		"daily at": "not understood", "daily on monday at 03:00": "not understood", "weekly on noday": "no day of the week", "monthly on 31": "last day", "monthly on 0": "no day of the month",
		"every": "no length of time", "every 1m": "too often", "every -4h": "no length", "every 99999999999999999999h": "no length", "every 9999w": "more than",
		"@every 5s": "every 4h", "@reboot": "no cron expression", "* * * *": "five fields", "0 0 22 * * *": "five fields", "61 * * * *": "no cron expression",
		"0 0 30 2 *": "no such day", "CRON_TZ=UTC 0 0 * * *": "not understood", "0 0 * * * " + strings.Repeat(" ", 200): "1 to 200",
	} {
		if _, err := ParseSchedule(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, name := range []string{"Local", "Mars/Olympus", "../../etc/passwd", strings.Repeat("x", 100)} {
		if _, err := Zone(name); err == nil {
			t.Errorf("zone %q is taken", name)
		}
	}
}

func FuzzAScheduleEndsAndGoesForward(f *testing.F) {
	for _, s := range []string{"daily at 02:30", "*/7 1-3 28-31 2 *", "every 61m", "weekly on sat at 2:00", "@monthly", "0 0 29 2 0"} {
		f.Add(s, int64(1793000000))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := ParseSchedule(text, zone(t, "Europe/Berlin"))
		if err != nil {
			return
		}
		after := time.Unix(unix%(1<<33), 0)
		if next := s.Next(after); !next.After(after) {
			t.Errorf("%q: after %s comes %s", text, after, next)
		}
	})
}

func TestAWindowIsOpenByTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ window, zone, at, open, end string }{
		{"22:00-06:00", "", "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z", "2026-11-23T06:00:00Z"},
		{"22:00-06:00", "", "2026-11-22T05:59:59Z", "2026-11-22T05:59:59Z", "2026-11-22T06:00:00Z"},
		{"22:00-06:00", "", "2026-11-22T06:00:00Z", "2026-11-22T22:00:00Z", "2026-11-23T06:00:00Z"},
		{"01:00-05:00", "", "2026-11-22T00:00:00Z", "2026-11-22T01:00:00Z", "2026-11-22T05:00:00Z"},
		{"22:00-06:00", "Europe/Berlin", "2026-10-24T21:00:00Z", "2026-10-24T21:00:00Z", "2026-10-25T05:00:00Z"}, // nine hours long
		{"02:10-02:50", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-30T00:10:00Z", "2026-03-30T00:50:00Z"}, // skipped
	} {
		w, err := ParseWindow(c.window, zone(t, c.zone))
		if err != nil {
			t.Fatal(err)
		}
		open := w.Open(at(t, c.at))
		if !open.Equal(at(t, c.open)) || !w.End(open).Equal(at(t, c.end)) {
			t.Errorf("%s %s at %s: opens %s, ends %s", c.window, c.zone, c.at, open.UTC(), w.End(open).UTC())
		}
	}
	for _, bad := range []string{"22:00", "22:00-22:00", "22-06", "a-b", "22:00-06:00-07:00"} {
		if _, err := ParseWindow(bad, nil); err == nil {
			t.Errorf("window %q is taken", bad)
		}
	}
}

func timetable(t testing.TB, schedule, window, zoneName string, offset time.Duration) Timetable {
	t.Helper()
	z := zone(t, zoneName)
	s, err := ParseSchedule(schedule, z)
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWindow(window, z)
	if err != nil {
		t.Fatal(err)
	}
	return Timetable{s, w, offset}
}

func TestRunsBeginByOffsetAndWithinTheWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schedule, window string
		offset           time.Duration
		after, next      string
	}{
		{"daily at 22:00", "", 17 * time.Minute, "2026-11-22T22:16:59Z", "2026-11-22T22:17:00Z 2026-11-23T22:17:00Z"},
		{"every 4h", "20:00-06:00", 0, "2026-11-22T04:00:00Z", "2026-11-22T20:00:00Z 2026-11-23T00:00:00Z 2026-11-23T04:00:00Z 2026-11-23T20:00:00Z"},
		{"daily at 12:00", "22:00-06:00", 10 * time.Minute, "2026-11-22T12:00:00Z", "2026-11-22T22:10:00Z 2026-11-23T22:10:00Z"},
		{"daily at 12:00", "22:00-22:10", 30 * time.Minute, "2026-11-22T12:00:00Z", "2026-11-22T22:05:00Z 2026-11-23T22:05:00Z"},
		{"daily at 22:00", "22:00-22:10", 30 * time.Minute, "2026-11-22T12:00:00Z", "2026-11-22T22:05:00Z 2026-11-23T22:05:00Z"},
	} {
		tt := timetable(t, c.schedule, c.window, "", c.offset)
		next := at(t, c.after)
		for _, want := range strings.Fields(c.next) {
			if next = tt.Next(next); !next.Equal(at(t, want)) {
				t.Errorf("%s in %q, offset %s: %s, want %s", c.schedule, c.window, c.offset, next.UTC(), want)
				break
			}
		}
	}
}

// TestAWindowedTimetableIsThatOfAPlainList compares the search with what begins for
// each due time.
func TestAWindowedTimetableIsThatOfAPlainList(t *testing.T) {
	t.Parallel()
	for _, zoneName := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"} {
		for _, schedule := range []string{"every 45m", "daily at 02:30, 12:00", "17 * * * *", "weekly on sun at 02:00"} {
			for _, window := range []string{"22:00-06:00", "01:30-03:10", "10:00-10:20"} {
				tt := timetable(t, schedule, window, zoneName, 25*time.Minute)
				from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
				var want []time.Time // what begins
				for due := from.AddDate(0, 0, -9); due.Before(from.AddDate(0, 9, 0)); {
					due = tt.Schedule.Next(due)
					if b := tt.begins(due); b.After(from) && (len(want) == 0 || b.After(want[len(want)-1])) {
						want = append(want, b)
					} else if len(want) > 0 && b.Before(want[len(want)-1]) {
						t.Fatalf("%s %s %s: what is due at %s begins before what is due earlier", schedule, window, zoneName, due)
					}
				}
				next := from
				for _, w := range want[:len(want)-1] {
					if next = tt.Next(next); !next.Equal(w) {
						t.Fatalf("%s %s %s: %s, want %s", schedule, window, zoneName, next, w)
					}
				}
			}
		}
	}
}

func TestMissedRunsAreCaughtUpOnceAndClockJumpsAreSurvived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schedule, window, last, now, want string }{
		{"daily at 22:00", "", "2026-11-20T22:00:00Z", "2026-11-21T21:00:00Z", "2026-11-21T22:00:00Z"},
		{"daily at 22:00", "", "2026-11-10T22:00:00Z", "2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z"}, // eleven were missed
		{"daily at 22:00", "", "2026-11-21T09:00:00Z", "2026-11-21T09:10:00Z", "2026-11-21T22:00:00Z"}, // and were one
		{"daily at 23:00", "22:00-06:00", "2026-11-10T22:00:00Z", "2026-11-21T09:00:00Z", "2026-11-21T22:00:00Z"},
		{"daily at 22:00", "", "2031-01-01T00:00:00Z", "2026-11-21T09:00:00Z", "2026-11-21T22:00:00Z"}, // the clock was five years ahead
		{"daily at 22:00", "", "2026-11-20T22:00:00Z", "2031-11-21T09:00:00Z", "2031-11-21T09:00:00Z"}, // it is now
		{"daily at 22:00", "", "", "2026-11-21T09:00:00Z", "2026-11-21T22:00:00Z"},
	} {
		var last time.Time
		if c.last != "" {
			last = at(t, c.last)
		}
		if got := timetable(t, c.schedule, c.window, "", 0).When(last, at(t, c.now)); !got.Equal(at(t, c.want)) {
			t.Errorf("%s after %s, now %s: %s, want %s", c.schedule, c.last, c.now, got.UTC(), c.want)
		}
	}
	if !(Timetable{}).When(time.Time{}, at(t, "2026-11-21T09:00:00Z")).IsZero() {
		t.Error("without a schedule something is due")
	}
}

func TestAYearOfTicksRunsEverySlotOnceWhateverStopsTheClockwork(t *testing.T) {
	t.Parallel()
	tt := timetable(t, "every 4h", "", "Europe/Berlin", 7*time.Minute)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	last, runs := now, 0
	end, stopped := now.AddDate(1, 0, 0), 0
	for tick := 0; now.Before(end); tick++ {
		if now = now.Add(time.Minute); tick%(40*24*60) == 40*24*60-1 { // it stands still for two days, each 40 days
			now = now.Add(48 * time.Hour)
			stopped++
		}
		if due := tt.When(last, now); !due.After(now) {
			last = now
			runs++
		}
	}
	days := 365 - 2*stopped
	if want := days*6 + stopped; runs < want-2*stopped || runs > want+2*stopped {
		t.Errorf("%d runs in %d days with %d stops", runs, days, stopped)
	}
}

func TestAJitterIsTheSameEachTimeAndSpreads(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for _, seed := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		j := Jitter(30*time.Minute, seed)
		if j < 0 || j >= 30*time.Minute || j != Jitter(30*time.Minute, seed) {
			t.Errorf("%s: %s", seed, j)
		}
		seen[j] = true
	}
	if len(seen) < 20 || Jitter(0, "a") != 0 {
		t.Errorf("%d of 26 differ", len(seen))
	}
}

func TestAMachineBelongsToThePolicyThatSaysMostOfIt(t *testing.T) {
	t.Parallel()
	claims := map[string]Claim{"all": {Globs: []string{"*"}}, "web": {Globs: []string{"web*", "www?"}}, "one": {Globs: []string{"web1"}}, "db": {Globs: []string{"db*"}},
		"odd": {Globs: []string{"*b1", "q[12]"}, Tag: "odd"}, "gold": {Tag: "gold"}}
	for machine, want := range map[string]string{"web1": "one", "web2": "web", "www1": "web", "x": "all", "db2": "db", "db1": "db odd", "q1": "odd",
		"web1 gold": "one", "web2 gold": "gold", "q1 other gold": "gold", "q1 gold odd": "gold odd", "y golden": "all"} {
		name, tags, _ := strings.Cut(machine, " ")
		got, err := Choose(name, strings.Fields(tags), claims)
		var two *AmbiguousError
		if errors.As(err, &two) {
			got = strings.Join(two.Policies, " ")
		}
		if got != want {
			t.Errorf("%s belongs to %q (%v), want %q", machine, got, err, want)
		}
	}
	if got, err := Choose("x", []string{""}, map[string]Claim{"db": {Globs: []string{"db*"}}}); got != "" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", "a/b", "[", strings.Repeat("x", 200)} {
		if CheckGlob(bad) == nil {
			t.Errorf("glob %q is taken", bad)
		}
	}
	for tag, ok := range map[string]bool{"": true, "gold": true, "a/b:c": true, "two words": false, "a,b": false, "x\n": false, strings.Repeat("x", 65): false} {
		if err := CheckTag(tag); (err == nil) != ok {
			t.Errorf("tag %q: %v", tag, err)
		}
	}
}

func TestSpansAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"0": 0, "90m": 90 * time.Minute, "1d12h": 36 * time.Hour, "2 weeks": 14 * 24 * time.Hour, "26h": 26 * time.Hour, "45s": 45 * time.Second} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
		if again, err := ParseSpan(FormatSpan(got)); err != nil || again != got {
			t.Errorf("%s is written %s", text, FormatSpan(got))
		}
	}
	for _, bad := range []string{"", "4", "h", "-1h", "1.5h", "1y", "99999w", "9999999999999999999h"} {
		if d, err := ParseSpan(bad); err == nil {
			t.Errorf("%q is %s", bad, d)
		}
	}
}
