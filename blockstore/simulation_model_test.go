package blockstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func sumOf(disk []byte) string {
	sum := sha256.Sum256(disk)
	return hex.EncodeToString(sum[:])
}

// Where a point may be. After a crash several may be possible.
const (
	absent  = 1 << iota // not there yet, or dropped
	listed              // there
	inTrash             // deleted
)

// simPoint is what the model knows of a point.
type simPoint struct {
	sum      string // of its disk's content
	version  uint64 // of simDisk
	as       int    // machine of simDisk
	may      int    // where it may be
	promised bool   // its commit returned
	deleted  time.Time
	until    time.Time
}

// model is what a vault should hold.
type model struct {
	mu       sync.Mutex
	points   map[PointID]*simPoint
	machines map[MachineID]*simMachine
	ahead    time.Duration
	drops    *simDrops // of the sweep that runs; nil: none does
	told     []string  // for the report of a failure
}

// simDrops is what a sweep may drop.
type simDrops struct {
	early bool
	now   time.Time
}

// may tells whether a point that is in the trash may be dropped. When is up to
// the vault, but for the promises: not while it is locked, and not before its time
// unless asked.
func (d *simDrops) may(p *simPoint) bool {
	return d != nil && !d.now.Before(p.until) && (d.early || !d.now.Before(p.deleted.Add(DefaultTrashDays*24*time.Hour)))
}

// hear follows what an actor says.
func (m *model) hear(line string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, line)
	f := strings.Fields(line)
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	number, _ := strconv.ParseInt(arg(len(f)-1), 10, 64)
	if arg(0) == "backing" {
		version, _ := strconv.ParseUint(arg(3), 10, 64)
		m.points[PointID(arg(1))] = &simPoint{sum: arg(2), version: version, as: int(number), may: absent}
	}
	p := m.points[PointID(arg(1))]
	switch verb := arg(0); verb {
	case "ahead":
		m.ahead = time.Duration(number)
	case "sweeping":
		m.sweeping(arg(1) == "true", time.Unix(0, number))
	case "swept":
		m.swept()
	case "changing":
		m.changing(MachineID(arg(1)), arg(2))
	case "changed":
		m.machines[MachineID(arg(1))] = &simMachine{may: []string{arg(2)}}
	case "dropped":
		if p == nil || p.may&absent == 0 {
			return fmt.Errorf("the actor says %q of a point that was not to be dropped", line)
		}
		p.may = absent
	default:
		if p == nil {
			return fmt.Errorf("the actor says %q", line)
		}
		p.hear(verb, number, m.drops)
	}
	return nil
}

// hear follows what happens to a point, maybe while a sweep runs.
func (p *simPoint) hear(verb string, number int64, drops *simDrops) {
	switch verb {
	case "backing":
		p.may = absent | listed // it may be committed and not yet said so
	case "committed":
		p.may, p.promised = p.may&^absent|listed, true
	case "cancelled":
		p.may = absent
	case "deleting":
		p.deleted = time.Unix(0, number)
		p.may |= inTrash
		p.mayGo(drops)
	case "undeleting":
		p.may |= listed
	case "deleted":
		p.may = inTrash
		p.mayGo(drops)
	case "undeleted": // and not dropped before
		p.may = listed
	case "locked":
		if p.until = time.Unix(0, number); drops != nil && drops.now.Before(p.until) {
			p.may &^= absent
		}
	}
}

func (p *simPoint) mayGo(drops *simDrops) {
	if drops.may(p) {
		p.may |= absent
	}
}

// sweeping allows that what is in the trash is dropped.
func (m *model) sweeping(early bool, now time.Time) {
	m.drops = &simDrops{early, now}
	for _, p := range m.points {
		if p.may&inTrash != 0 {
			p.mayGo(m.drops)
		}
	}
}

// swept takes it back of those that the sweep did not name.
func (m *model) swept() {
	m.drops = nil
	for _, p := range m.points {
		if p.promised && p.may != absent {
			p.may &^= absent
		}
	}
}

// compare holds a vault against the model. What an owner that came after a crash
// shows of what was possible is true from then on.
func (m *model) compare(t *testing.T, v *Vault, when string, settled bool) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	points, err := v.Points(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	m.drops = nil // where there was one, it died
	trash, err := v.Trash(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	is := map[PointID]int{}
	look := func(points []*Point, where int) {
		for _, p := range points {
			is[p.ID] = where
			if want := m.points[p.ID]; want == nil {
				t.Errorf("%s: point %s was never begun", when, p.ID)
			} else if sumOf(readDisk(t, v, p, "vda")) != want.sum {
				t.Errorf("%s: point %s differs from what was backed up", when, p.ID)
			}
		}
	}
	look(points, listed)
	look(trash, inTrash)
	m.compareMachines(t, v, when, settled)
	for id, p := range m.points {
		where := max(is[id], absent)
		if p.may&where == 0 {
			t.Errorf("%s: point %s is %s, and should be %s", when, id, places(where), places(p.may))
		}
		if settled {
			p.may, p.promised = where, p.promised || where != absent
		}
	}
}

func places(may int) string {
	var names []string
	for bit, name := range map[int]string{absent: "absent", listed: "listed", inTrash: "in the trash"} {
		if may&bit != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}
