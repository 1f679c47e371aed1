package lvm

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/thin"
)

// Device is a disk or partition that is a physical volume.
type Device struct {
	Name string // for messages: vda2
	R    io.ReaderAt
	PV   *PV
}

// Group is a volume group.
type Group struct {
	Name, UUID string
	Volumes    []*Volume // that are meant to be seen, by name
	Devices    []string  // of it that are here, by Name
	Missing    []Missing // physical volumes that are not among the devices
	Notes      []string
}

// Missing is a physical volume that is not here.
type Missing struct {
	UUID string
	// Device is where the guest saw it when the metadata was written: a hint, and
	// the guest's text.
	Device string
}

func (m Missing) String() string {
	if m.Device == "" {
		return m.UUID
	}
	return fmt.Sprintf("%s (the guest's %s)", m.UUID, m.Device)
}

// MissingError says which physical volumes a volume lacks.
type MissingError struct {
	Volume  string
	Missing []Missing
}

func (e *MissingError) Error() string {
	var names []string
	for _, m := range e.Missing {
		names = append(names, m.String())
	}
	return fmt.Sprintf("logical volume %s lies in part on a physical volume that is not here: %s", e.Volume, strings.Join(names, ", "))
}

// KindError says that a volume is of a kind that is not read.
type KindError struct{ Volume, Kind string }

func (e *KindError) Error() string {
	return fmt.Sprintf("logical volume %s is of kind %s, which is not read", e.Volume, e.Kind)
}

// Assemble makes of physical volumes their groups, by name. The newest metadata
// of a group holds, whichever of its volumes it lies on.
func Assemble(devices []Device) []Group {
	newest := map[string]*groupMeta{} // by id
	for _, d := range devices {
		if g := d.PV.group; g != nil && (newest[g.id] == nil || g.seqno > newest[g.id].seqno) {
			newest[g.id] = g
		}
	}
	var groups []Group
	for _, id := range slices.Sorted(maps.Keys(newest)) {
		groups = append(groups, assemble(newest[id], devices))
	}
	slices.SortStableFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}

func assemble(g *groupMeta, devices []Device) Group {
	out := Group{Name: g.name, UUID: g.id}
	b := builder{g: g, here: map[string]io.ReaderAt{}, built: map[string]*Volume{}, pools: map[string]*thin.Pool{}}
	known := map[string]bool{}
	for _, p := range g.pvs {
		known[p.id] = true
	}
	for _, d := range devices {
		switch {
		case !known[d.PV.UUID]:
			continue
		case b.here[d.PV.UUID] != nil:
			out.Notes = append(out.Notes, fmt.Sprintf("%s is a copy of another physical volume of group %s: it is passed over", d.Name, g.name))
			continue
		}
		b.here[d.PV.UUID] = d.R
		out.Devices = append(out.Devices, d.Name)
		if old := d.PV.group; old != nil && old.seqno < g.seqno {
			out.Notes = append(out.Notes, fmt.Sprintf("the metadata on %s is older than that on others of group %s", d.Name, g.name))
		}
		out.Notes = append(out.Notes, d.PV.Notes...)
	}
	for _, name := range slices.Sorted(maps.Keys(g.pvs)) {
		if p := g.pvs[name]; b.here[p.id] == nil {
			out.Missing = append(out.Missing, Missing{p.id, p.device})
		}
	}
	cows := g.snapshots()
	for _, name := range slices.Sorted(maps.Keys(g.lvs)) {
		l := g.lvs[name]
		if origin, ok := cows[name]; ok {
			out.Volumes = append(out.Volumes, &Volume{Name: name, UUID: l.id, Size: l.size(), Err: &KindError{name, "snapshot of " + origin}})
		} else if l.visible {
			out.Volumes = append(out.Volumes, b.volume(l))
		}
	}
	return out
}

// snapshots returns the volumes that hold what differs in a snapshot, and the origin
// of each. Alone they mean nothing.
func (g *groupMeta) snapshots() map[string]string {
	cows := map[string]string{}
	for _, l := range g.lvs {
		for _, s := range l.segments {
			if s.kind == "snapshot" && s.cow != "" {
				cows[s.cow] = s.origin
			}
		}
	}
	return cows
}

func (l *lvMeta) size() int64 {
	if len(l.segments) == 0 {
		return 0
	}
	last := l.segments[len(l.segments)-1]
	return last.start + last.len
}
