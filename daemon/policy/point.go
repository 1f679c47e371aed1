package policy

import (
	"fmt"
	"slices"
	"time"
)

// Consistency is what was reached when a snapshot was taken.
type Consistency string

// The consistencies, weakest first.
const (
	Crash       Consistency = "crash"
	Filesystem  Consistency = "filesystem"
	Application Consistency = "application"
)

var strength = map[Consistency]int{Crash: 1, Filesystem: 2, Application: 3}

// Point is what rules know of a recovery point, which was committed.
type Point struct {
	ID      string
	Time    time.Time // instant of the snapshot
	Reached Consistency
	Damaged bool      // something of it is known not to be readable
	Locked  time.Time // until then; zero: never was
	Disks   []Disk
}

// Disk is enough of a disk to know it again.
type Disk struct{ Name, Serial, Source string }

// same tells whether two disks are one: by serial number, or where it lies, or name.
func (d Disk) same(e Disk) bool {
	return d.Serial != "" && d.Serial == e.Serial || d.Source != "" && d.Source == e.Source || d.Name == e.Name
}

// flaws returns what keeps each point from being good, empty where it is. A point
// is short of a disk when it lacks one that the newest point before it had which was
// short of none itself: whether a disk is missing by mistake, later points cannot tell.
func (r Rules) flaws(points []Point) []string {
	flaws := make([]string, len(points))
	var full *Point
	for i := range points {
		p := &points[i]
		missing := ""
		if full != nil {
			missing = r.missing(full, p)
		}
		switch {
		case missing != "":
			flaws[i] = fmt.Sprintf("disk %s is missing, which was there on %s", missing, full.Time.In(r.zone()).Format(time.DateOnly))
		case p.Damaged:
			flaws[i] = "damaged"
		case strength[p.Reached] < strength[r.Consistency]:
			flaws[i] = fmt.Sprintf("%s, not %s", p.Reached, r.Consistency)
		}
		if missing == "" {
			full = p
		}
	}
	return flaws
}

// missing names a disk of before that p has not, and that somebody misses.
func (r Rules) missing(before, p *Point) string {
	for _, d := range before.Disks {
		if !slices.Contains(r.Exclude, d.Name) && !slices.ContainsFunc(p.Disks, d.same) {
			return d.Name
		}
	}
	return ""
}
