package guestfs

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lvm"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/part"
)

// find reads the tables of all disks and the labels of LVM, and no file system.
func (g *Guest) find() {
	g.byName = map[string]*Volume{}
	var pvs []lvm.Device
	for _, d := range g.disks {
		for _, v := range g.onDisk(d) {
			g.add(v)
			if v.err != nil {
				continue
			}
			pv, err := lvm.ReadPV(v.r)
			switch {
			case err == nil:
				v.pv = pv
				pvs = append(pvs, lvm.Device{Name: v.Name, R: v.r, PV: pv})
			case !errors.Is(err, lvm.ErrNotPV):
				v.err = err
			}
		}
	}
	for _, group := range lvm.Assemble(pvs) {
		g.addGroup(group)
	}
}

// add gives v a name that no other has.
func (g *Guest) add(v *Volume) {
	name := v.Name
	for n := 2; g.byName[v.Name] != nil; n++ {
		v.Name = fmt.Sprintf("%s~%d", name, n)
	}
	v.g = g
	g.byName[v.Name] = v
	g.volumes = append(g.volumes, v)
}

// onDisk returns the partitions of a disk, or the disk itself.
func (g *Guest) onDisk(d Disk) []*Volume {
	table, err := part.Read(d.R, d.Size, d.SectorSize)
	whole := &Volume{Name: d.Name, Disk: d.Name, Size: d.Size, r: d.R}
	if err != nil {
		whole.err = err
		return []*Volume{whole}
	}
	for _, note := range table.Notes {
		g.note("disk %s: %s", d.Name, note)
	}
	if table.Scheme == part.None {
		return []*Volume{whole}
	}
	var list []*Volume
	for _, p := range table.Partitions {
		list = append(list, &Volume{
			Name: partitionName(d.Name, p.Number), Disk: d.Name, Size: p.Len,
			Partition: &p, Scheme: table.Scheme,
			r: io.NewSectionReader(d.R, p.Off, p.Len),
		})
	}
	return list
}

func (g *Guest) addGroup(group lvm.Group) {
	g.notes = append(g.notes, group.Notes...)
	for _, m := range group.Missing {
		note := fmt.Sprintf("volume group %s lacks its physical volume %v", group.Name, m)
		if out := leftOut(g.o.Missing); out != "" {
			note += "; " + out
		}
		g.notes = append(g.notes, note)
	}
	for _, l := range group.Volumes {
		v := &Volume{Name: mapped(group.Name, l.Name), Group: group.Name, Logical: l.Name, Size: l.Size, r: l, err: l.Err}
		lacks := (*lvm.MissingError)(nil)
		kind := (*lvm.KindError)(nil)
		switch {
		case errors.As(l.Err, &lacks):
			v.err = &NotInPointError{"volume " + v.Name, joinNonEmpty("; ", l.Err.Error(), leftOut(g.o.Missing))}
		case errors.As(l.Err, &kind):
			v.err = &UnreadableError{v.Name, "", fmt.Sprintf("it is a logical volume of kind %s", kind.Kind), adviceDisk}
		}
		if l.Note != "" {
			v.notes = append(v.notes, l.Note)
		}
		if fileSafe(v.Name) {
			g.add(v)
		} else {
			g.note("logical volume %q is left out: its name is none that LVM makes", v.Name)
		}
	}
}

// partitionName is how Linux names a partition: vda1, nvme0n1p1.
func partitionName(disk string, number int) string {
	if last := disk[max(len(disk)-1, 0):]; last >= "0" && last <= "9" {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

// mapped is how device-mapper names a logical volume: a dash within a name is doubled.
func mapped(group, volume string) string {
	return strings.ReplaceAll(group, "-", "--") + "-" + strings.ReplaceAll(volume, "-", "--")
}

// fileSafe tells whether a name can be a folder's and a word of a command line.
func fileSafe(name string) bool {
	return name != "" && len(name) <= 255 && name[0] != '.' && name[0] != '-' &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return !(r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || strings.ContainsRune("+_.-~", r))
		})
}

func joinNonEmpty(sep string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}
