package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
)

// Examination is what a VM is like, and what a backup of it would cost.
type Examination struct {
	Facts   backup.Facts
	Agent   error // why no agent answers in the guest; nil: one does
	Windows bool
	Plan    []backup.DiskPlan
	Chosen  []backup.VMDisk
	LeftOut []blockstore.LeftOut
	Unknown []string // excluded disks that the VM does not have
}

// findDomain completes the record of a machine that is a domain of libvirt, given by URI and name or UUID.
func findDomain(ctx context.Context, p *blockstore.Protection, uri, name string) error {
	host, err := libvirt.Connect(ctx, uri)
	if err != nil {
		return err
	}
	d, err := host.Domain(ctx, name)
	if err != nil {
		return err
	}
	p.Libvirt = &blockstore.LibvirtVM{URI: host.URI(), UUID: d.UUID()}
	p.VM = blockstore.VM{UUID: d.UUID(), Name: d.Name(), Kind: blockstore.KindLibvirt}
	return nil
}

// Examine looks at a VM and changes nothing. Newest is the bitmap of the newest point of
// its machine; "": there is none.
func Examine(ctx context.Context, vm backup.VM, p *blockstore.Protection, newest string) (*Examination, error) {
	e := &Examination{}
	var err error
	if e.Facts, err = vm.Facts(ctx); err != nil {
		return nil, err
	}
	disks, err := vm.Disks(ctx)
	if err != nil {
		return nil, err
	}
	if e.Chosen, e.LeftOut, e.Unknown, err = backup.Choose(p, disks); err != nil {
		return nil, err
	}
	live, ok := vm.(backup.LiveVM)
	if !ok || !e.Facts.On {
		e.Agent = errors.New("the machine is off")
		return e, e.examineImages(ctx, vm)
	}
	e.Agent, e.Windows = askAgent(ctx, live)
	names := make([]string, len(e.Chosen))
	for i, d := range e.Chosen {
		names[i] = d.Name
	}
	e.Plan, err = live.Plan(ctx, names, newest)
	return e, err
}

// examineImages opens the images of a VM that is off, so that what is wrong with one is
// said now.
func (e *Examination) examineImages(ctx context.Context, vm backup.VM) error {
	names := make([]string, len(e.Chosen))
	for i, d := range e.Chosen {
		names[i] = d.Name
	}
	disks, err := vm.Images(ctx, names)
	if err != nil {
		return err
	}
	for i := range disks {
		plan := backup.DiskPlan{Name: disks[i].Name, Mode: blockstore.ByScan, Reason: "the machine is off: its image is read"}
		opened, err := disks[i].Open(ctx)
		var used *image.InUseError
		switch {
		case errors.As(err, &used):
			plan.Refusal = err.Error()
		case err != nil:
			return fmt.Errorf("disk %s: %w", plan.Name, err)
		default:
			plan.Size = opened.Size()
			plan.ToRead = plan.Size
			if err := opened.Close(); err != nil {
				return fmt.Errorf("disk %s: %w", plan.Name, err)
			}
		}
		e.Plan = append(e.Plan, plan)
	}
	return nil
}

// askAgent looks whether somebody answers in the guest, and whether that is Windows.
func askAgent(ctx context.Context, vm backup.LiveVM) (err error, windows bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	guest, _, err := vm.Guest(ctx)
	if err != nil {
		return err, false
	}
	if c, ok := guest.(io.Closer); ok {
		defer c.Close()
	}
	if err := guest.Ping(ctx); err != nil {
		return err, false
	}
	system, err := guest.OSInfo(ctx)
	return nil, err == nil && system.Windows()
}

// ChooseConsistency sets what is asked of a machine's backups where nobody said: as much
// as the guest can do now. It says why.
func (e *Examination) ChooseConsistency(p *blockstore.Protection) string {
	if e.Agent == nil {
		p.Consistency, p.FallBack = blockstore.Filesystem, true
		return "the guest agent answers; where it does not, a backup falls back to crash, and says so"
	}
	p.Consistency, p.FallBack = blockstore.Crash, false
	if !e.Facts.On {
		return "the machine is off"
	}
	return fmt.Sprintf("no guest agent answers (%v)", e.Agent)
}

// NewestBitmap is the bitmap that covers the time since the newest point of a machine; "" where
// it has none.
func NewestBitmap(ctx context.Context, v *blockstore.Vault, id blockstore.MachineID) (string, error) {
	points, err := v.Points(ctx)
	var newest *blockstore.Point
	for _, p := range points {
		if p.Machine == id && (newest == nil || newest.Compare(p) < 0) {
			newest = p
		}
	}
	if newest == nil {
		return "", err
	}
	return backup.BitmapSince(v.Info().ID, newest), nil
}

// ParseDomain takes [URI/]DOMAIN apart.
func ParseDomain(s string) (uri, domain string, err error) { return libvirt.ParseTarget(s) }
