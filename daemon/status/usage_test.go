package status

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func TestUsageCountsAMachineInEachMonthInWhichItHasPoints(t *testing.T) {
	t.Parallel()
	at := func(day string, protected int64, deleted string) Point {
		p := Point{Sizes: api.Sizes{Protected: protected << 30, Stored: 1}}
		p.Committed, _ = time.Parse(time.DateOnly, day)
		if deleted != "" {
			p.Deleted, _ = time.Parse(time.DateOnly, deleted)
		}
		return p
	}
	m := []MachineFacts{
		{Machine: api.Machine{ID: "1", Name: "grows"}, Points: []Point{at("2026-09-10", 100, ""), at("2026-09-20", 600, ""), at("2026-10-05", 300, "")}},
		{Machine: api.Machine{ID: "2", Name: "left", Protected: false}, Points: []Point{at("2026-08-31", 50, "2026-10-02")}},
		{Machine: api.Machine{ID: "3", Name: "new"}, Points: []Point{at("2026-11-20", 0, ""), at("2026-11-21", 1000, "2026-11-22")}},
		{Machine: api.Machine{ID: "4", Name: "never"}},
	}
	months, err := Months("2026-08", "2026-11", now)
	if err != nil || len(months) != 4 {
		t.Fatal(months, err)
	}
	u := Usage(api.Vault{}, m, months, now)
	var got []string
	for _, month := range u.Months {
		line := month.Month
		for _, m := range month.Machines {
			line += fmt.Sprintf(" %s:%dGiB:%d:%d/%d", m.Machine, m.Protected>>30, m.Instances, m.Points, m.Kept)
		}
		got = append(got, line)
	}
	want := []string{
		"2026-08 left:50GiB:1:1/1",
		"2026-09 grows:600GiB:2:2/2 left:50GiB:1:0/1",
		"2026-10 grows:300GiB:1:1/3 left:50GiB:1:0/0",
		"2026-11 grows:300GiB:1:0/3 new:1000GiB:2:2/1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant %s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if u.Months[2].Partial || !u.Months[3].Partial || u.Months[3].Instances != 3 {
		t.Errorf("%+v", u.Months[3])
	}
	for _, bad := range [][2]string{{"2026", ""}, {"2026-13", ""}, {"2026-02", "2026-01"}, {"", "x"}, {"1000-01", "3000-01"}} {
		if _, err := Months(bad[0], bad[1], now); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
