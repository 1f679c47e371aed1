package fusefs

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// listing is what the mount shows at one moment. It is never changed once built,
// so it is read without a lock.
type listing struct {
	points   []*blockstore.Point // all that were given, shown or not
	machines []*machineEntry     // by folder name
	byName   map[string]*machineEntry
	byID     map[blockstore.MachineID]*machineEntry
	logical  int64 // sum of the disks' sizes, bytes
}

// machineEntry is a machine's folder.
type machineEntry struct {
	id     blockstore.MachineID
	name   string // by its newest point
	folder string
	points []*pointEntry // by folder name, and so by time
	byName map[string]*pointEntry
	latest *pointEntry
}

// pointEntry is a point's folder.
type pointEntry struct {
	*blockstore.Point
	folder string
}

// newListing names the folders of points as doc.go says, and as old does, which
// may be nil. Points that cannot be shown are left out; skip is told of them.
func newListing(points []*blockstore.Point, old *listing, skip func(p *blockstore.Point, why string)) *listing {
	l := &listing{
		points: points,
		byName: map[string]*machineEntry{},
		byID:   map[blockstore.MachineID]*machineEntry{},
	}
	for _, p := range points {
		if why := unshowable(p); why != "" {
			skip(p, why)
			continue
		}
		l.add(p)
	}
	l.machines = slices.Collect(maps.Values(l.byID))
	nameMachines(l.machines)
	slices.SortFunc(l.machines, func(a, b *machineEntry) int { return strings.Compare(a.folder, b.folder) })
	for _, m := range l.machines {
		l.byName[m.folder] = m
		m.namePoints(old.namesOf(m.id))
	}
	return l
}

func (l *listing) add(p *blockstore.Point) {
	m := l.byID[p.Machine]
	if m == nil {
		m = &machineEntry{id: p.Machine}
		l.byID[p.Machine] = m
	}
	e := &pointEntry{Point: p}
	m.points = append(m.points, e)
	if m.latest == nil || p.Compare(m.latest.Point) > 0 {
		m.latest, m.name = e, p.MachineName
	}
	l.logical += p.Sizes.Logical
}

// nameMachines gives every machine its folder. A machine gets its id appended
// when its name is another's too, or is what another is called with its id
// appended; ids being unique and of one length, that ends.
func nameMachines(all []*machineEntry) {
	for _, m := range all {
		m.folder = m.name
	}
	for again := true; again; {
		again = false
		taken := make(map[string]int, len(all))
		for _, m := range all {
			taken[m.folder]++
		}
		for _, m := range all {
			if taken[m.folder] > 1 && m.folder == m.name {
				m.folder, again = m.name+"-"+string(m.id), true
			}
		}
	}
}

// namesOf returns the folders of a machine's points.
func (l *listing) namesOf(id blockstore.MachineID) map[blockstore.PointID]string {
	if l == nil || l.byID[id] == nil {
		return nil
	}
	names := make(map[blockstore.PointID]string, len(l.byID[id].points))
	for _, p := range l.byID[id].points {
		names[p.ID] = p.folder
	}
	return names
}

// namePoints gives every point its folder. Those that had one keep it. Of several
// of one second, the first is called by the time alone and the later ones get their
// ids appended, so that no name changes when another point appears.
func (m *machineEntry) namePoints(had map[blockstore.PointID]string) {
	m.byName = make(map[string]*pointEntry, len(m.points))
	for _, p := range m.points {
		if p.folder = had[p.ID]; p.folder != "" {
			m.byName[p.folder] = p
		}
	}
	slices.SortFunc(m.points, func(a, b *pointEntry) int { return a.Compare(b.Point) })
	for _, p := range m.points {
		if p.folder != "" {
			continue
		}
		if p.folder = p.Label(); m.byName[p.folder] != nil {
			p.folder += "-" + string(p.ID)
		}
		m.byName[p.folder] = p
	}
	slices.SortFunc(m.points, func(a, b *pointEntry) int {
		return cmp.Or(strings.Compare(a.folder, b.folder), strings.Compare(string(a.ID), string(b.ID)))
	})
}

// sameAs tells whether l shows the given points.
func (l *listing) sameAs(points []*blockstore.Point) bool {
	return slices.EqualFunc(l.points, points, func(a, b *blockstore.Point) bool { return a.ID == b.ID })
}

// shows tells whether p is among the points of l.
func (l *listing) shows(p *blockstore.Point) bool {
	m := l.byID[p.Machine]
	return m != nil && slices.ContainsFunc(m.points, func(e *pointEntry) bool { return e.ID == p.ID })
}

// unshowable says why a point cannot be shown; "" if it can. A vault gives no
// such names; this keeps a path from meaning something else if one did.
func unshowable(p *blockstore.Point) string {
	switch {
	case !fileName(p.MachineName) || p.MachineName == latestName:
		return "the machine's name cannot name a folder"
	case !fileName(string(p.Machine)):
		return "the machine's id cannot be part of a name"
	case !fileName(string(p.ID)):
		return "the point's id cannot be part of a name"
	}
	return ""
}

// maxName keeps names, with an id or an ending added, below what a kernel takes.
const maxName = 200

// fileName tells whether s can name a file.
func fileName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) <= maxName && !strings.ContainsAny(s, "/\x00\n")
}
