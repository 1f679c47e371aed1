package libvirt

import (
	"context"
	"strconv"
	"strings"
)

// sized adds sizes to disks, as far as libvirt knows them: of network disks only while
// the domain runs.
func (d *Domain) sized(ctx context.Context, disks []Disk) []Disk {
	out, err := d.virsh(ctx, "domblkinfo", "--all")
	if err != nil { // one file that is missing, and it says nothing of all
		for i := range disks {
			if disks[i].Source.empty() {
				continue
			}
			if one, err := d.virsh(ctx, "domblkinfo", "--device="+disks[i].Name); err == nil {
				f := facts(strings.ReplaceAll(one, ":", "="))
				disks[i].Size, _ = strconv.ParseInt(f["Capacity"], 10, 64)
				disks[i].Allocation, _ = strconv.ParseInt(f["Allocation"], 10, 64)
			}
		}
		return disks
	}
	for _, line := range strings.Split(out, "\n") {
		fields := strings.Fields(line) // target, capacity, allocation, physical
		if len(fields) < 3 {
			continue
		}
		for i := range disks {
			if disks[i].Name == fields[0] {
				disks[i].Size, _ = strconv.ParseInt(fields[1], 10, 64)
				disks[i].Allocation, _ = strconv.ParseInt(fields[2], 10, 64)
			}
		}
	}
	return disks
}
