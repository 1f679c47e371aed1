package qemu

import (
	"context"
	"fmt"
)

// Mode says how the changes of a disk are found.
type Mode string

// The modes.
const (
	ModeBitmap Mode = "bitmap" // QEMU remembers which blocks were written to
	ModeScan   Mode = "scan"   // all that is not zero is read, and hashes tell what changed
)

// Granularity of our bitmaps, in bytes.
const Granularity = 64 << 10

// DiskPlan is what a backup would do with a disk if it began now.
type DiskPlan struct {
	Disk    Disk
	Mode    Mode
	Reason  string // why Mode is ModeScan
	Bytes   int64  // to be read at most
	Scratch string // folder of the scratch file
	Warning string // what an operator should know; may be empty
	Refusal string // why it cannot be backed up at all; empty: it can
}

// Plan says what a backup of some disks would do, by name; of all that are not left out where
// names is empty. parent is the name of the bitmap that counts from the last point on;
// empty: there is none. It changes nothing.
func (m *Machine) Plan(ctx context.Context, names []string, parent string, o ScratchOptions) ([]DiskPlan, error) {
	disks, err := m.Disks(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(disks, names)
	if err != nil {
		return nil, err
	}
	var plans []DiskPlan
	for _, d := range chosen {
		p := DiskPlan{Disk: d, Mode: ModeBitmap, Scratch: o.folder(), Bytes: d.Size}
		if p.Reason = d.doubt(parent); p.Reason != "" {
			p.Mode = ModeScan
		} else {
			p.Bytes = min(d.bitmap(parent).Count, d.Size)
		}
		if p.Refusal = m.refusal(&d); p.Refusal == "" && m.fallsBack(&d) {
			p.Warning = "it is served by an I/O thread, and this QEMU would die of an NBD export of it: it is read through FUSE"
		}
		if !d.persists && !d.ReadOnly && p.Warning == "" {
			p.Warning = "changes are remembered only as long as QEMU runs: after a stop of the machine the disk is read whole once"
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// choose finds disks by name, or those that are backed up unless told otherwise.
func choose(disks []Disk, names []string) ([]Disk, error) {
	var chosen []Disk
	if len(names) == 0 {
		for _, d := range disks {
			if d.LeftOut == "" {
				chosen = append(chosen, d)
			}
		}
	}
	for _, name := range names {
		d, err := find(disks, name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, *d)
	}
	return chosen, nil
}

func find(disks []Disk, name string) (*Disk, error) {
	for i := range disks {
		d := &disks[i]
		switch {
		case d.Name != name:
		case d.Impossible:
			return nil, fmt.Errorf("disk %s cannot be backed up: %s", name, d.LeftOut)
		default:
			return d, nil
		}
	}
	return nil, fmt.Errorf("the machine has no disk %s", name)
}

const inconsistent = "the bitmap is inconsistent: QEMU ended without saving it"

// doubt says why a bitmap is not to be believed; empty: it is.
func (d *Disk) doubt(name string) string {
	if name == "" {
		return "the first point of this disk"
	}
	b := d.bitmap(name)
	switch {
	case d.ReadOnly:
		return "no bitmap is kept on a read-only disk"
	case b == nil && !d.persists:
		return "the bitmap is gone: it is kept only as long as QEMU runs"
	case b == nil:
		return "the bitmap is gone"
	case b.Inconsistent:
		return inconsistent
	case b.Busy:
		return "the bitmap is in use by something else"
	case !b.Recording:
		return "the bitmap has not been recording"
	case b.Granularity != Granularity:
		return fmt.Sprintf("the bitmap counts in units of %d bytes: it is not as Holdfast made it", b.Granularity)
	}
	return ""
}
