package qemu

import "fmt"

// namer counts the drives of each kind.
type namer map[string]int

func (n namer) next(d *Disk) string {
	kind := ""
	switch {
	case d.LeftOut == "CD-ROM drive":
		kind = "sr"
	case d.Bus == "floppy":
		kind = "fd"
	case d.Bus == "nvme":
		kind = "nvme"
	case d.Bus == "virtio":
		kind = "vd"
	case d.Bus == "scsi", d.Bus == "ide", d.Bus == "usb":
		kind = "sd"
	default:
		kind = "disk"
	}
	i := n[kind]
	n[kind]++
	switch kind {
	case "sr", "fd", "disk":
		return fmt.Sprintf("%s%d", kind, i)
	case "nvme":
		return fmt.Sprintf("nvme%dn1", i)
	}
	return kind + letters(i)
}

// letters counts a, b, ... z, aa, ab, ...
func letters(i int) string {
	s := ""
	for i++; i > 0; i = (i - 1) / 26 {
		s = string(rune('a'+(i-1)%26)) + s
	}
	return s
}
