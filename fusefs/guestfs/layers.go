package guestfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lvm"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/mdraid"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/raid"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Bounds of what lies in one another: partition, array, encryption and logical volume
// are four layers; what makes more than that many volumes is not a guest.
const (
	maxLayers  = 8
	maxVolumes = 4096
)

// layers joins volumes to what lies on them, until nothing more is found.
type layers struct {
	g       *Guest
	pvs     []lvm.Device
	members []mdraid.Device
	locked  []*Volume       // that no key was tried on yet
	done    map[string]bool // arrays and groups, by UUID
}

// find reads the tables of all disks, the superblocks of md, headers of LUKS and BitLocker, and labels
// of LVM, and no file system.
func (g *Guest) find() {
	g.byName = map[string]*Volume{}
	l := &layers{g: g, done: map[string]bool{}}
	for _, d := range g.disks {
		for _, v := range g.onDisk(d) {
			l.put(v)
		}
	}
	// What is whole comes first: a member or physical volume may yet turn up in
	// another layer.
	for l.arrays(true) || l.unlock() || l.groups(true) || l.arrays(false) || l.groups(false) {
	}
}

// put adds a volume and looks whether others lie on it.
func (l *layers) put(v *Volume) {
	for _, below := range v.On {
		if b := l.g.byName[below]; b != nil {
			v.layer = max(v.layer, b.layer+1)
		}
	}
	if len(l.g.volumes) >= maxVolumes || v.layer > maxLayers {
		l.g.note("volume %s is left out: there are too many, or too many in one another", v.Name)
		return
	}
	l.g.add(v)
	if v.err != nil {
		return
	}
	switch s, err := mdraid.ReadSuper(v.r, v.Size); {
	case err == nil:
		v.md = s
		l.members = append(l.members, mdraid.Device{Name: v.Name, R: v.r, Size: v.Size, Super: s})
		return
	case !errors.Is(err, mdraid.ErrNotMember):
		v.notes = append(v.notes, err.Error())
	}
	pv, err := lvm.ReadPV(v.r)
	switch {
	case err == nil:
		v.pv = pv
		l.pvs = append(l.pvs, lvm.Device{Name: v.Name, R: v.r, PV: pv})
	case !errors.Is(err, lvm.ErrNotPV):
		v.err = err
	default:
		if v.crypt = l.lockOf(v); v.crypt != nil && v.crypt.err == nil {
			l.locked = append(l.locked, v)
		}
	}
}

// formatted tells whether a reader takes the volume as it is.
func (v *Volume) formatted() bool {
	return slices.ContainsFunc(v.g.o.Formats, func(f tree.Format) bool { return f.Probe(v.r, v.Size) })
}

// arrays makes the next array of which all members are here, or any.
func (l *layers) arrays(whole bool) bool {
	for _, m := range l.members {
		id := m.Super.UUID
		if l.done[id] || whole && !mdraid.Whole(id, l.members) {
			continue
		}
		l.done[id] = true
		l.putArray(mdraid.Assemble(slices.DeleteFunc(slices.Clone(l.members), func(d mdraid.Device) bool { return d.Super.UUID != id }))[0])
		return true
	}
	return false
}

func (l *layers) putArray(a *mdraid.Array) {
	name := arrayName(a.Name)
	if !fileSafe(name) || a.Name == "" {
		name = "md-" + strings.ReplaceAll(a.UUID, ":", "-")
	}
	volumes := []*Volume{{Name: name, r: a}}
	switch {
	case errors.Is(a.Err, raid.ErrTooFew):
		volumes[0].err = &NotInPointError{What: "array " + name, Why: joinNonEmpty("; ", a.Err.Error(), leftOut(l.g.o.Missing))}
	case a.Err != nil:
		volumes[0].err = &UnreadableError{Volume: name, Why: a.Err.Error(), Advice: adviceMD}
	default:
		volumes = l.g.onDisk(Disk{Name: name, R: a, Size: a.Size})
	}
	for _, v := range l.g.volumes {
		if v.md != nil && v.md.UUID == a.UUID {
			v.array = name
			if len(a.Devices) == 0 {
				volumes[0].On = append(volumes[0].On, v.Name)
			}
		}
	}
	volumes[0].notes = append(volumes[0].notes, a.Notes...)
	for _, v := range volumes {
		v.Disk = ""
		v.On = append(v.On, a.Devices...)
		l.put(v)
	}
}

// arrayName is what Linux calls an array below /dev, as a name: md0, md-NAME of md/NAME.
func arrayName(name string) string {
	if number, ok := strings.CutPrefix(name, "md"); ok && number != "" && strings.Trim(number, "0123456789") == "" {
		return name
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		return "md" + name
	}
	return "md-" + name
}

// member is the signature of a member of an array.
func (v *Volume) member() *signature {
	return &signature{kind: "linux_raid_member", uuid: strings.ReplaceAll(v.md.UUID, ":", "-"), label: v.md.Name,
		why: "it belongs to a software RAID (md): " + v.array, advice: "the array is a volume of its own"}
}

// groups adds the next volume group whose physical volumes are all here, or any.
func (l *layers) groups(whole bool) bool {
	for _, group := range lvm.Assemble(l.pvs) {
		if l.done[group.UUID] || whole && len(group.Missing) > 0 {
			continue
		}
		l.done[group.UUID] = true
		l.putGroup(group)
		return true
	}
	return false
}

func (l *layers) putGroup(group lvm.Group) {
	g := l.g
	g.notes = append(g.notes, group.Notes...)
	for _, m := range group.Missing {
		note := fmt.Sprintf("volume group %s lacks its physical volume %v", group.Name, m)
		g.notes = append(g.notes, joinNonEmpty("; ", note, leftOut(g.o.Missing)))
	}
	for _, lv := range group.Volumes {
		v := &Volume{Name: mapped(group.Name, lv.Name), Group: group.Name, Logical: lv.Name, Size: lv.Size, On: group.Devices, r: lv, err: lv.Err}
		lacks := (*lvm.MissingError)(nil)
		kind := (*lvm.KindError)(nil)
		switch {
		case errors.As(lv.Err, &lacks):
			v.err = &NotInPointError{What: "volume " + v.Name, Why: joinNonEmpty("; ", lv.Err.Error(), leftOut(g.o.Missing))}
		case errors.As(lv.Err, &kind):
			v.err = &UnreadableError{Volume: v.Name, Why: fmt.Sprintf("it is a logical volume of kind %s", kind.Kind), Advice: adviceDisk}
		}
		if lv.Note != "" {
			v.notes = append(v.notes, lv.Note)
		}
		if fileSafe(v.Name) {
			l.put(v)
		} else {
			g.note("logical volume %q is left out: its name is none that LVM makes", v.Name)
		}
	}
}
