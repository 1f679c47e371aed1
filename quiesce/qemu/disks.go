package qemu

import (
	"context"
	"fmt"
	"strings"
)

// drive is an entry of query-block.
type drive struct {
	Device    string    `json:"device"`
	QDev      string    `json:"qdev"`
	Removable bool      `json:"removable"`
	Inserted  *inserted `json:"inserted"`
}

type inserted struct {
	Node     string `json:"node-name"`
	Driver   string `json:"drv"`
	ReadOnly bool   `json:"ro"`
	File     string `json:"file"`
	Image    image  `json:"image"`
}

// node is an entry of query-named-block-nodes.
type node struct {
	Name     string   `json:"node-name"`
	Driver   string   `json:"drv"`
	ReadOnly bool     `json:"ro"`
	Bitmaps  []Bitmap `json:"dirty-bitmaps"`
	Image    image    `json:"image"`
}

func (m *Machine) nodes(ctx context.Context) ([]node, error) {
	var list []node
	err := m.do(ctx, "query-named-block-nodes", object{"flat": true}, &list)
	return list, err
}

// Disks lists the drives of the machine, those that are left out too, each with the
// reason. While a backup of ours reads a disk, it is listed as the guest sees it all the same.
func (m *Machine) Disks(ctx context.Context) ([]Disk, error) {
	disks, err := m.disks(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask QEMU for its disks: %w", err)
	}
	return disks, nil
}

func (m *Machine) disks(ctx context.Context) ([]Disk, error) {
	var drives []drive
	if err := m.do(ctx, "query-block", nil, &drives); err != nil {
		return nil, err
	}
	list, err := m.nodes(ctx)
	if err != nil {
		return nil, err
	}
	nodes := make(map[string]*node, len(list))
	for i := range list {
		nodes[list[i].Name] = &list[i]
	}
	below, err := m.belowFilters(ctx, drives)
	if err != nil {
		return nil, err
	}
	var missed error
	m = m.inquiring(&missed)
	var disks []Disk
	names := namer{}
	for i := range drives {
		d := &drives[i]
		if d.QDev == "" && (d.Inserted == nil || d.Device == "" || ours(d.Inserted.Node)) {
			continue // left by a device that is gone, or part of a job
		}
		disk := m.disk(ctx, d, nodes, below)
		disk.Name = names.next(&disk)
		disks = append(disks, disk)
	}
	disks = append(disks, m.unseen(ctx)...)
	return disks, missed
}

// disk puts together what is known of one drive.
func (m *Machine) disk(ctx context.Context, d *drive, nodes map[string]*node, below map[string]string) Disk {
	disk := Disk{Device: d.Device, QDev: d.QDev, BootIndex: -1, Logical: 512, Physical: 512}
	class := ""
	if d.QDev != "" {
		class = m.describe(ctx, &disk)
	}
	if i := d.Inserted; i != nil {
		disk.Node, disk.Format, disk.ReadOnly = i.Node, i.Driver, i.ReadOnly
		img := &i.Image
		if under, ok := below[i.Node]; ok {
			disk.Node = under
			if n := nodes[under]; n != nil {
				disk.Format, disk.ReadOnly, img = n.Driver, n.ReadOnly, &n.Image
			}
		}
		disk.Size, disk.Filename, disk.Chain = img.VirtualSize, plainName(img.Filename), img.chain()
		if disk.Apart = apart(img.Filename); disk.Apart != "" {
			disk.Filename = img.Filename
		}
		disk.Transient = transient(disk.Chain)
		disk.persists = disk.Format == "qcow2" && img.Specific.Data.Compat != "0.10" && !disk.ReadOnly
		if n := nodes[disk.Node]; n != nil {
			disk.Bitmaps = n.Bitmaps
		}
	}
	disk.leaveOut(class)
	return disk
}

// describe asks the drive's device what it is, and returns its class.
func (m *Machine) describe(ctx context.Context, d *Disk) string {
	class := m.text(ctx, d.QDev, "type")
	d.Serial = m.text(ctx, d.QDev, "serial")
	d.Shareable, _ = get[bool](ctx, m, d.QDev, "share-rw")
	if n, ok := get[int](ctx, m, d.QDev, "bootindex"); ok {
		d.BootIndex = n
	}
	if n, ok := get[int](ctx, m, d.QDev, "logical_block_size"); ok && n > 0 {
		d.Logical = n
	}
	if n, ok := get[int](ctx, m, d.QDev, "physical_block_size"); ok && n > 0 {
		d.Physical = n
	}
	d.IOThread = m.text(ctx, d.QDev, "iothread")
	bus := m.text(ctx, d.QDev, "parent_bus")
	d.Bus = busOf(class, bus)
	controller, _, ok := cutLast(bus, "/")
	if !ok {
		return class
	}
	if d.IOThread == "" {
		d.IOThread = m.text(ctx, controller, "iothread")
	}
	switch {
	case d.Bus == "scsi" && strings.HasPrefix(m.text(ctx, controller, "type"), "usb-"):
		d.Bus = "usb"
	case d.Bus == "nvme" && d.Serial == "": // a namespace has none
		if d.Serial = m.text(ctx, controller, "serial"); d.Serial == "" {
			d.Serial = m.nvmeSerial(ctx)
		}
	}
	return class
}

// nvmeSerial is that of the only NVMe controller: from QEMU 9 on, a namespace does not
// say which controller it is behind.
func (m *Machine) nvmeSerial(ctx context.Context) string {
	serial, count := "", 0
	for _, d := range m.devices(ctx) {
		if d.class == "nvme" {
			serial, count = m.text(ctx, d.path, "serial"), count+1
		}
	}
	if count != 1 {
		return ""
	}
	return serial
}

func busOf(class, parent string) string {
	switch {
	case strings.HasPrefix(class, "virtio-blk"):
		return "virtio"
	case strings.HasPrefix(class, "scsi-"):
		return "scsi"
	case strings.HasPrefix(class, "ide-"):
		return "ide"
	case strings.HasPrefix(class, "nvme"):
		return "nvme"
	case strings.HasPrefix(class, "usb-"):
		return "usb"
	case strings.Contains(class, "floppy") || strings.Contains(parent, "floppy"):
		return "floppy"
	}
	return class
}

// leaveOut says why a drive is not backed up unless asked for, or at all.
func (d *Disk) leaveOut(class string) {
	never := func(why string) { d.LeftOut, d.Impossible = why, true }
	switch {
	case class == "ide-cd" || class == "scsi-cd":
		never("CD-ROM drive")
	case d.Bus == "floppy":
		never("floppy drive")
	case d.Node == "":
		never("empty drive")
	case d.QDev == "":
		never("no device of the machine uses it")
	case class == "scsi-block" || class == "scsi-generic":
		never("SCSI device passed through: QEMU does not see what is written to it")
	case ours(d.Node):
		never("a backup of Holdfast reads it, and this QEMU does not say what is below")
	case d.Size <= 0:
		never("it has no size")
	case isFlash(d):
		never("firmware or its variables: kept with the configuration")
	case d.Shareable:
		d.LeftOut = "shareable disk (share-rw=on): other machines may write to it too"
	case d.Transient:
		d.LeftOut = "transient disk: what is written vanishes when the machine is switched off"
	}
}

// isFlash tells memory chips that firmware lies in from disks.
func isFlash(d *Disk) bool {
	return strings.HasPrefix(d.Bus, "cfi.pflash") || strings.HasPrefix(d.Device, "pflash")
}
