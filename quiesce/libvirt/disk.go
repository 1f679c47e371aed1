package libvirt

import (
	"fmt"
	"strconv"
	"strings"
)

// Disk is a disk of a domain, as its XML and libvirt describe it.
type Disk struct {
	Name      string // of the target, for example vda; for host devices hostdev0 and so on
	Device    string // disk, cdrom, floppy or lun; hostdev for what is passed through
	Bus       string // virtio, scsi, sata, ...
	Serial    string // empty where none is set
	WWN       string
	Alias     string // QEMU's id of the device while the domain runs
	BootOrder int    // 0: none set
	IOThread  int    // 0: none; -1: several, or not known which
	Size      int64  // bytes that the guest sees; 0: not known
	// Allocation is what the top layer takes up, in bytes; 0: not known.
	Allocation int64
	Format     string // of the top layer: raw, qcow2, ...
	Source     Source // of the top layer
	// Chain are the layers below the top one, first the one that the top is based on. It is known
	// while the domain runs, and otherwise only as far as ChainKnown says.
	Chain      []Layer
	ChainKnown bool

	ReadOnly, Shareable, Transient bool
	// Busy names a job on the disk that does not go together with a backup; usually empty.
	Busy string
	// LeftOut says why the disk is not backed up by itself; empty: it is.
	LeftOut string
}

// Layer is a file that a disk is based on.
type Layer struct {
	Format string
	Source Source
}

// Identity names all layers of the disk, so that a chain that changed since the
// last point is noticed.
func (d Disk) Identity() string {
	var b strings.Builder
	for _, l := range append([]Layer{{d.Format, d.Source}}, d.Chain...) {
		fmt.Fprintf(&b, "%s:%s\n", l.Format, l.Source)
	}
	return b.String()
}

// disksOf lists the disks of a domain, then the devices of the host that may be disks.
func disksOf(root *element) []Disk {
	devices := root.child("devices")
	var list []Disk
	for _, e := range devices.all("disk") {
		list = append(list, diskOf(e, devices))
	}
	for i, e := range devices.all("hostdev") {
		d := Disk{Name: "hostdev" + strconv.Itoa(i), Device: "hostdev", Bus: e.attr("type")}
		switch d.Bus {
		case "scsi", "scsi_host":
			d.LeftOut = "a SCSI device of the host, passed through"
		case "pci":
			d.LeftOut = "a PCI device of the host, passed through: should it be a disk, QEMU does not see its contents"
		default:
			continue
		}
		list = append(list, d)
	}
	return list
}

func diskOf(e, devices *element) Disk {
	target := e.child("target")
	d := Disk{
		Name: target.attr("dev"), Bus: target.attr("bus"), Device: e.attr("device"),
		Serial: e.text("serial"), WWN: e.text("wwn"), Alias: e.child("alias").attr("name"),
		Format: e.child("driver").attr("type"), Source: sourceOf(e),
		ReadOnly: e.child("readonly") != nil, Shareable: e.child("shareable") != nil, Transient: e.child("transient") != nil,
	}
	if d.Device == "" {
		d.Device = "disk"
	}
	if d.Format == "" {
		d.Format = "raw"
	}
	d.BootOrder, _ = strconv.Atoi(e.child("boot").attr("order"))
	d.IOThread = ioThread(e, devices)
	d.Chain, d.ChainKnown = chainOf(e)
	if m := e.child("mirror"); m != nil {
		d.Busy = "a block job (" + m.attr("job") + ")"
	}
	d.LeftOut = leftOut(d)
	return d
}

func leftOut(d Disk) string {
	switch {
	case d.Device == "cdrom":
		return "a CD-ROM drive"
	case d.Device == "floppy":
		return "a floppy drive"
	case d.Device == "lun":
		return "a SCSI LUN that the guest sends its own commands to"
	case d.Source.Type == "vhostuser" || d.Source.Type == "vhostvdpa":
		return "served to the guest by another process (" + d.Source.Type + "): QEMU does not see its contents"
	case d.Source.Type == "nvme":
		return "an NVMe device of the host, passed through"
	case d.Source.Type == "dir":
		return "a folder of the host shown as a FAT disk"
	case d.Source.empty():
		return "a drive without a medium"
	case d.Shareable:
		return "shared with other machines: a copy of it may not be from one moment"
	case d.Transient:
		return "transient: what is written to it is dropped when the machine ends"
	}
	return ""
}

// ioThread finds the I/O thread of a disk, which for SCSI is its controller's.
func ioThread(e, devices *element) int {
	driver := e.child("driver")
	if e.child("target").attr("bus") == "scsi" {
		number := e.child("address").attr("controller")
		for _, c := range devices.all("controller") {
			if c.attr("type") == "scsi" && c.attr("index") == number {
				driver = c.child("driver")
			}
		}
	}
	if driver.child("iothreads") != nil {
		return -1
	}
	n, err := strconv.Atoi(driver.attr("iothread"))
	if err != nil && driver.attr("iothread") != "" {
		return -1
	}
	return n
}

// chainOf reads the layers below a disk. An empty <backingStore/> ends a chain.
func chainOf(e *element) (chain []Layer, known bool) {
	for len(chain) <= maxDepth {
		b := e.child("backingStore")
		if b == nil {
			return chain, false
		}
		if b.attr("type") == "" {
			return chain, true
		}
		format := b.child("format").attr("type")
		chain = append(chain, Layer{Format: format, Source: sourceOf(b)})
		if format == "raw" && b.child("backingStore") == nil {
			return chain, true
		}
		e = b
	}
	return chain, false
}
