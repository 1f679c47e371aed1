package fusefs

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

func TestFoldersAreNamedByTimeAndGetIdsOnlyWhereTheyMust(t *testing.T) {
	id := func(n int) blockstore.MachineID { return blockstore.MachineID(fmt.Sprintf("%016x", n)) }
	tests := []struct {
		name   string
		points [][3]string // machine number, machine name, second
		want   []string
	}{
		{"one", [][3]string{{"1", "web", "5"}}, []string{"web/2026-11-22T22-00-05Z"}},
		{"one second", [][3]string{{"1", "web", "5"}, {"1", "web", "5"}, {"1", "web", "6"}}, []string{
			"web/2026-11-22T22-00-05Z", "web/2026-11-22T22-00-05Z-p1", "web/2026-11-22T22-00-06Z"}},
		{"two machines", [][3]string{{"1", "web", "5"}, {"2", "web", "5"}}, []string{
			"web-0000000000000001/2026-11-22T22-00-05Z", "web-0000000000000002/2026-11-22T22-00-05Z"}},
		{"renamed", [][3]string{{"1", "old", "5"}, {"1", "new", "6"}}, []string{
			"new/2026-11-22T22-00-05Z", "new/2026-11-22T22-00-06Z"}},
		{"a name that is another's with its id", [][3]string{{"1", "web", "5"}, {"2", "web", "5"}, {"3", "web-0000000000000001", "5"}}, []string{
			"web-0000000000000001/2026-11-22T22-00-05Z", "web-0000000000000002/2026-11-22T22-00-05Z",
			"web-0000000000000001-0000000000000003/2026-11-22T22-00-05Z"}},
	}
	for _, test := range tests {
		var points []*blockstore.Point
		for i, p := range test.points {
			var machine, second int
			fmt.Sscan(p[0], &machine)
			fmt.Sscan(p[2], &second)
			points = append(points, &blockstore.Point{ID: blockstore.PointID(fmt.Sprintf("p%d", i)), Machine: id(machine),
				MachineName: p[1], Seq: uint64(i + 1), Time: time.Date(2026, 11, 22, 22, 0, second, 0, time.UTC)})
		}
		for range 2 { // in either order of the vault's list
			var got []string
			for _, m := range newListing(points, nil, nil).machines {
				for _, p := range m.points {
					got = append(got, m.folder+"/"+p.folder)
				}
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("%s:\n%q, want\n%q", test.name, got, test.want)
			}
			slices.Reverse(points)
		}
	}
}

// TestAPointsFolderKeepsItsNameWhateverComesAndGoes adds points of one second
// and takes them away, also those that came first.
func TestAPointsFolderKeepsItsNameWhateverComesAndGoes(t *testing.T) {
	v := newFakeVault()
	for range 3 {
		v.bare("web", day)
	}
	a, b, c := v.points[0], v.points[1], v.points[2]
	names := map[blockstore.PointID]string{}
	var l *listing
	for _, points := range [][]*blockstore.Point{{b}, {a, b}, {c, a, b}, {c, a}, {a}, {a, b}, {b, c, a}} {
		l = newListing(points, l, nil)
		m := l.byName["web"]
		if len(m.byName) != len(points) {
			t.Fatalf("%d points have %d names", len(points), len(m.byName))
		}
		for _, p := range m.points {
			if was := names[p.ID]; was != "" && was != p.folder && len(points) != 1 {
				t.Errorf("point %s was %s and is %s", p.ID, was, p.folder)
			}
			names[p.ID] = p.folder
		}
	}
}

func TestLatestGoesBySequenceNotByTheClock(t *testing.T) {
	v := newFakeVault()
	v.bare("web", day)
	v.bare("web", day.AddDate(-1, 0, 0)) // the clock was set back
	l := newListing(v.points, nil, nil)
	if got := l.byName["web"].latest.ID; got != v.points[1].ID {
		t.Errorf("latest is %s", got)
	}
}

func TestInodeNumbersAreThoseThatWereGivenOutBefore(t *testing.T) {
	// These may never change: backup programs know files by them.
	if got := ino(kindDisk, "p0123456789abcdef", "vda"); got != 8893224202179403870 {
		t.Errorf("ino is %d", got)
	}
}
