package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Excluded is the reason of a disk that a person left out.
const Excluded = "excluded when the machine was protected"

// Choose says which disks a machine's points hold, and which are left out and
// why. Excluded names that the VM has no disk of are returned, too.
func Choose(p *blockstore.Protection, disks []VMDisk) (chosen []VMDisk, left []blockstore.LeftOut, unknown []string, err error) {
	for _, d := range disks {
		why := d.LeftOut
		switch {
		case slices.Contains(p.Exclude, d.Name):
			why = Excluded
		case d.Shareable && p.Shareable && !d.Impossible:
			why = ""
		}
		if why == "" {
			if err := blockstore.CheckDiskName(d.Name); err != nil {
				return nil, nil, nil, err
			}
			chosen = append(chosen, d)
			continue
		}
		left = append(left, blockstore.LeftOut{Name: d.Name, Size: d.Size, Reason: why})
	}
	for _, name := range p.Exclude {
		if !slices.ContainsFunc(disks, func(d VMDisk) bool { return d.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	if len(chosen) == 0 {
		return nil, left, unknown, noDisk(left)
	}
	return chosen, left, unknown, nil
}

// WhereExcluded says where a VM's disks of these names lie, for Protection.ExcludedAt.
func WhereExcluded(ctx context.Context, vm VM, exclude []string) (map[string]string, error) {
	if len(exclude) == 0 {
		return nil, nil
	}
	disks, err := vm.Disks(ctx)
	if err != nil {
		return nil, err
	}
	at := map[string]string{}
	for _, d := range disks {
		if slices.Contains(exclude, d.Name) && d.Source != "" {
			at[d.Name] = d.Source
		}
	}
	return at, nil
}

func noDisk(left []blockstore.LeftOut) error {
	err := errors.New("there is no disk to back up")
	for _, l := range left {
		err = fmt.Errorf("%w; %s: %s", err, l.Name, l.Reason)
	}
	return err
}

// DiskInfo is what a point says of a disk of a running VM before it is read.
func (d *VMDisk) DiskInfo() blockstore.DiskInfo {
	return blockstore.DiskInfo{
		Name: d.Name, Size: d.Size, Format: d.Format, Source: d.Source, LogicalSector: d.Logical, PhysicalSector: d.Physical,
		Serial: d.Serial, Bus: d.Bus, BootOrder: d.BootOrder, Chain: d.Chain,
	}
}

// doubts says, disk by disk, why the bitmap since parent is not to be believed; "" where
// nothing speaks against it. find is how the vault knows a disk again.
func doubts(parent *blockstore.Point, disks []VMDisk, find func(blockstore.DiskInfo) *blockstore.DiskInfo) []string {
	why := make([]string, len(disks))
	claimed := map[string]int{} // disks that continue one of the parent, by its name
	for i := range disks {
		if d := find(disks[i].DiskInfo()); d != nil {
			claimed[d.Name]++
		}
	}
	for i := range disks {
		d := &disks[i]
		then := find(d.DiskInfo())
		switch {
		case parent == nil:
			why[i] = "the first point of the machine"
		case then == nil:
			why[i] = "the disk is new"
		case claimed[then.Name] > 1:
			why[i] = fmt.Sprintf("several disks could be disk %s of the point before", then.Name)
		case then.Mode == "":
			why[i] = "the machine was off when the point before was made"
		case countsFrom(parent, then) != since(parent):
			why[i] = "its bitmap counts from another point than those of the other disks"
		case then.Source != d.Source:
			why[i] = fmt.Sprintf("the disk lay in %s before", then.Source)
		case d.Size != 0 && then.Size != d.Size:
			why[i] = fmt.Sprintf("the disk was resized, from %d to %d bytes", then.Size, d.Size)
		case !slices.Equal(then.Chain, d.Chain):
			why[i] = "the chain of images changed since the point before"
		}
	}
	return why
}
