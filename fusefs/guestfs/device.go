package guestfs

import (
	"fmt"
	"strings"
)

// device finds the volume that a line of fstab means. nil and a *NotInPointError:
// no volume of the point is it.
func (g *Guest) device(spec string) (*Volume, error) {
	key, value, tagged := strings.Cut(spec, "=")
	if !tagged {
		key, value = "", spec
		for prefix, tag := range map[string]string{"/dev/disk/by-uuid/": "UUID", "/dev/disk/by-label/": "LABEL",
			"/dev/disk/by-partuuid/": "PARTUUID", "/dev/disk/by-partlabel/": "PARTLABEL"} {
			if rest, ok := strings.CutPrefix(spec, prefix); ok {
				key, value = tag, unhex(rest)
			}
		}
	}
	var damage error
	for _, v := range g.Volumes() {
		is, err := v.is(key, value)
		if is {
			return v, nil
		}
		if err != nil && damage == nil {
			damage = err
		}
	}
	if key == "" {
		if v, err := g.byPath(value); v != nil || err != nil {
			return v, err
		}
	}
	if err := g.mayLieLocked(spec); err != nil {
		return nil, err
	}
	why := "no volume on its disks is that one"
	if damage != nil {
		why += fmt.Sprintf(", and not all can be looked at (%v)", damage)
	}
	return nil, &NotInPointError{What: spec, Why: joinNonEmpty("; ", why, leftOut(g.o.Missing))}
}

// is tells whether v bears that tag. What holds others (LVM, LUKS) is not meant by a
// tag of a file system, and has UUIDs of its own.
func (v *Volume) is(tag, value string) (bool, error) {
	p := v.Partition
	switch tag {
	case "PARTUUID":
		return p != nil && strings.EqualFold(p.UUID, value), nil
	case "PARTLABEL":
		return p != nil && p.Label != "" && p.Label == value, nil
	case "UUID", "LABEL":
		id, err := v.Identify()
		if err != nil || value == "" {
			return false, err
		}
		return tag == "UUID" && strings.EqualFold(id.UUID, value) || tag == "LABEL" && v.labelled(id, value), nil
	}
	return false, nil
}

// labelled tells whether that is v's label. Some file systems keep theirs where only their
// reader finds it.
func (v *Volume) labelled(id Identity, label string) bool {
	if id.Label == label {
		return true
	}
	if !id.Readable || id.Type != "ntfs" && id.Type != "vfat" {
		return false
	}
	fs, err := v.FS()
	return err == nil && fs.Info().Label == label
}

// byPath finds what a path below /dev means. The guest may call its disks otherwise
// than the point does (sda and vda): then the letter counts.
func (g *Guest) byPath(dev string) (*Volume, error) {
	name, ok := strings.CutPrefix(dev, "/dev/")
	if !ok {
		return nil, nil
	}
	if mapped, ok := strings.CutPrefix(name, "mapper/"); ok {
		if v := g.byName[mapped]; v != nil {
			return v, nil
		}
		return g.alias(mapped), nil
	}
	if array, ok := strings.CutPrefix(name, "md/"); ok {
		return g.byName[arrayName(array)], nil
	}
	if group, lv, ok := strings.Cut(name, "/"); ok {
		return g.byName[mapped(group, lv)], nil
	}
	if v := g.byName[name]; v != nil && v.Group == "" { // a disk, a partition, md0
		return v, nil
	}
	for _, m := range g.o.Missing {
		if disk, _ := diskOf(name, []string{m.Name}); disk != "" {
			return nil, &NotInPointError{What: dev, Why: leftOut([]Missing{m})}
		}
	}
	var names []string
	for _, d := range g.disks {
		names = append(names, d.Name)
	}
	if disk, rest := diskOf(name, names); disk != "" {
		return g.byName[disk+rest], nil
	}
	return nil, nil
}

// diskOf finds the disk among names that device lies on, and what follows its name in
// the volume's: the same name, or one with another prefix and the same letter.
func diskOf(device string, names []string) (disk, rest string) {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(device, name); ok && name != "" && (rest == "" || partitionSuffix(name, rest)) {
			return name, rest
		}
	}
	for _, name := range names {
		for _, a := range lettered {
			for _, b := range lettered {
				letter, ok := strings.CutPrefix(name, a)
				rest, also := strings.CutPrefix(device, b+letter)
				if ok && also && len(letter) > 0 && letters(letter) && (rest == "" || partitionSuffix(name, rest)) {
					return name, rest
				}
			}
		}
	}
	return "", ""
}

// lettered are the prefixes of disks that are counted by letters.
var lettered = []string{"vd", "sd", "xvd", "hd"}

func letters(s string) bool { return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }

// partitionSuffix tells whether rest is a number of a partition behind a disk's name.
func partitionSuffix(disk, rest string) bool {
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "p"); !ok {
			return false
		}
	}
	return rest != "" && strings.Trim(rest, "0123456789") == ""
}

// unhex turns \x20 of names below /dev/disk back.
func unhex(s string) string {
	for i := strings.Index(s, `\x`); i >= 0; i = strings.Index(s, `\x`) {
		var c byte
		if len(s) < i+4 {
			return s
		}
		if _, err := fmt.Sscanf(s[i+2:i+4], "%02x", &c); err != nil || c == '\\' {
			return s
		}
		s = s[:i] + string([]byte{c}) + s[i+4:]
	}
	return s
}
