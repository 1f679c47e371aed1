package guestfs

import (
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/mdraid"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/part"
)

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
	whole := &Volume{Name: d.Name, Disk: d.Name, Size: d.Size, r: d.R}
	if s, err := mdraid.ReadSuper(d.R, d.Size); err == nil && s.Whole() {
		return []*Volume{whole} // the table is that of the array
	}
	table, err := part.Read(d.R, d.Size, d.SectorSize)
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
