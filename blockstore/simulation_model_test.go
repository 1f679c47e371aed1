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
	until    time.Time
}

// model is what a vault should hold.
type model struct {
	mu     sync.Mutex
	points map[PointID]*simPoint
	ahead  time.Duration
	told   []string // for the report of a failure
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
	default:
		if p == nil {
			return fmt.Errorf("the actor says %q", line)
		}
		p.hear(verb, number)
	}
	return nil
}

func (p *simPoint) hear(verb string, number int64) {
	switch verb {
	case "backing":
		p.may = absent | listed // it may be committed and not yet said so
	case "committed":
		p.may, p.promised = p.may&^absent|listed, true
	case "cancelled", "dropped":
		p.may = absent
	case "deleting", "undeleting":
		p.may |= listed | inTrash
	case "deleted":
		p.may = inTrash
	case "undeleted":
		p.may = listed
	case "locked":
		p.until = time.Unix(0, number)
	}
}

// sweeping allows that what is in the trash is dropped. When is up to the vault, but for
// the promises: not what is locked, and nothing before its time unless asked.
func (m *model) sweeping(early bool, now time.Time) {
	for _, p := range m.points {
		if p.may&inTrash != 0 && !now.Before(p.until) && (early || m.ahead > DefaultTrashDays*24*time.Hour) {
			p.may |= absent
		}
	}
}

// swept takes it back of those that the sweep did not name.
func (m *model) swept() {
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
