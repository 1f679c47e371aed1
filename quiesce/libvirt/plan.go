package libvirt

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// Plan says what a snapshot of these disks would do if it began now; of all disks that are not
// left out where the request names none. Of a domain that is off, only disks and sizes are
// known. It changes nothing, and asks nothing that taints the domain.
func (d *Domain) Plan(ctx context.Context, q SnapshotRequest) ([]DiskPlan, error) {
	plans, err := d.plan(ctx, q)
	return plans, d.wrap("plan backup", err)
}

func (d *Domain) plan(ctx context.Context, q SnapshotRequest) ([]DiskPlan, error) {
	root, err := d.tree(ctx)
	if err != nil {
		return nil, err
	}
	live := root.attr("id") != ""
	disks, err := d.choose(ctx, root, q.Disks)
	if err != nil {
		return nil, err
	}
	var parent *checkpoint
	if q.Parent != "" && !q.RawBitmaps {
		if parent, err = d.checkpoint(ctx, q.Parent, live); err != nil {
			return nil, err
		}
	}
	copies := live && !q.RawBitmaps && threaded(disks) && d.diesOfExports(ctx)
	var plans []DiskPlan
	for _, disk := range disks {
		p := DiskPlan{Disk: disk.Disk, Bytes: disk.allocated(), Scratch: scratchFolder(q.Scratch)}
		switch {
		case !live:
			p.Mode, p.Reason, p.Scratch = qemu.ModeScan, "the domain is off", ""
		case copies:
			p.Mode, p.Reason, p.Warning = qemu.ModeScan, copyReason, "a copy of the disk needs as much space there as it has data"
		case q.RawBitmaps:
			p.Mode = qemu.ModeBitmap // what there is to read, only QEMU knows
			if q.Parent == "" {
				p.Mode, p.Reason = qemu.ModeScan, "the first point of this disk"
			}
			p.Warning = "libvirt marks the domain as tainted, since its QEMU is given commands directly"
			if disk.Format == "raw" {
				p.Warning += "; changes are remembered only as long as QEMU runs"
			}
		default:
			p.Mode, p.Reason = parent.mode(disk.Disk, qemu.DiskRequest{Name: disk.Name, Scan: disk.scan}, q.Parent)
			if why := untrackable(disk.Disk); why != "" {
				p.Reason = why
			}
			if p.Mode == qemu.ModeBitmap {
				p.Bytes = min(parent.disks[disk.Name].changed, disk.Size)
			}
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// untrackable says why libvirt will never track the disk; empty: it will.
func untrackable(disk Disk) string {
	switch {
	case disk.ReadOnly:
		return "no bitmap is kept on a read-only disk"
	case disk.Format != "qcow2":
		return fmt.Sprintf("libvirt keeps no checkpoints of %s disks", disk.Format)
	}
	return ""
}

func threaded(disks []chosen) bool {
	for _, disk := range disks {
		if disk.IOThread != 0 {
			return true
		}
	}
	return false
}
