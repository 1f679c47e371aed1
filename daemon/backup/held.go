package backup

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// heldVM is a VM that is off, some of whose images somebody in this process holds.
type heldVM struct {
	VM
	disks []VMDisk
	held  map[string]Disk
}

// Held returns vm, a VM that is off, with disks that are read as held says, because this process
// keeps everybody else from their images. Other disks that cannot be read are left out. It fails
// where vm is not the VM of the machine, is on, or has one of the disks elsewhere or not at all.
func Held(ctx context.Context, m blockstore.Machine, vm VM, held []Disk) (VM, error) {
	facts, err := vm.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := Identify(m.Name, m.Protected.VM, facts.VM); err != nil {
		return nil, err
	}
	if facts.On {
		return nil, errors.New("the VM is on")
	}
	h := &heldVM{VM: vm, held: map[string]Disk{}}
	if h.disks, err = vm.Disks(ctx); err != nil {
		return nil, err
	}
	chosen, _, _, err := Choose(m.Protected, h.disks)
	if err != nil {
		return nil, err
	}
	byName := map[string]VMDisk{}
	for _, d := range chosen {
		byName[d.Name] = d
	}
	for _, d := range held {
		of, ok := byName[d.Name]
		if !ok || !samePlace(of.Source, d.Source) {
			return nil, fmt.Errorf("disk %s of the VM does not lie in %s", d.Name, d.Source)
		}
		d.Source = of.Source // as the points call it
		h.held[d.Name] = d
	}
	h.leaveOut(ctx, byName)
	return h, nil
}

func samePlace(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// leaveOut leaves out what nobody holds and what cannot be read.
func (h *heldVM) leaveOut(ctx context.Context, chosen map[string]VMDisk) {
	for i := range h.disks {
		d := &h.disks[i]
		if _, isHeld := h.held[d.Name]; isHeld {
			continue
		}
		if _, asked := chosen[d.Name]; !asked {
			continue
		}
		if err := h.readable(ctx, d.Name); err != nil {
			d.LeftOut, d.Impossible = err.Error(), true
		}
	}
}

func (h *heldVM) readable(ctx context.Context, name string) error {
	disks, err := h.VM.Images(ctx, []string{name})
	if err != nil {
		return err
	}
	i, err := disks[0].Open(ctx)
	if err != nil {
		return err
	}
	return i.Close()
}

// Disks is part of VM.
func (h *heldVM) Disks(context.Context) ([]VMDisk, error) { return h.disks, nil }

// Images is part of VM.
func (h *heldVM) Images(ctx context.Context, names []string) ([]Disk, error) {
	var all []Disk
	for _, name := range names {
		if d, ok := h.held[name]; ok {
			all = append(all, d)
			continue
		}
		disks, err := h.VM.Images(ctx, []string{name})
		if err != nil {
			return nil, err
		}
		all = append(all, disks...)
	}
	return all, nil
}
