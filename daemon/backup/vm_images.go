package backup

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// imagesVM is a machine that is off: nothing but its images.
type imagesVM struct {
	vm     blockstore.VM
	status string
	images []blockstore.ImageDisk
	inUse  bool // images may be in use
}

// Close is part of VM.
func (v *imagesVM) Close() error { return nil }

// Facts is part of VM.
func (v *imagesVM) Facts(context.Context) (Facts, error) {
	return Facts{VM: v.vm, Status: v.status}, nil
}

// Disks is part of VM.
func (v *imagesVM) Disks(context.Context) ([]VMDisk, error) {
	var disks []VMDisk
	for _, i := range v.images {
		d := VMDisk{Name: i.Name, Source: i.Path, Format: i.Format, Shareable: i.Shareable}
		switch {
		case i.Unreadable != "":
			d.LeftOut, d.Impossible = fmt.Sprintf("it cannot be read while the VM is off: %s (%s)", i.Unreadable, i.Path), true
		case i.Shareable:
			d.LeftOut = "shareable disk: other machines may write to it too"
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// Images is part of VM.
func (v *imagesVM) Images(_ context.Context, names []string) ([]Disk, error) {
	byName := map[string]blockstore.ImageDisk{}
	for _, i := range v.images {
		byName[i.Name] = i
	}
	var disks []Disk
	for _, name := range names {
		i, ok := byName[name]
		if !ok {
			return nil, fmt.Errorf("disk %s: %w", name, blockstore.ErrNotFound)
		}
		disks = append(disks, imageDisk(i, v.inUse))
	}
	return disks, nil
}

// imageDisk reads a disk from where it lies.
func imageDisk(i blockstore.ImageDisk, allowInUse bool) Disk {
	return diskOf(i.Name, i.Path, image.Spec{Path: i.Path, Format: i.Format, Backing: i.Backing, AllowInUse: allowInUse})
}

// Config is part of VM: there is nothing but machine.json.
func (v *imagesVM) Config(context.Context, bool) ([]ConfigFile, []string) { return nil, nil }

// State is part of VM.
func (v *imagesVM) State(context.Context) ([]ConfigFile, []string) { return nil, nil }

// exist tells whether all images are there that can be.
func (v *imagesVM) exist() bool {
	found := false
	for _, i := range v.images {
		if i.Unreadable != "" {
			continue
		}
		if _, err := os.Stat(i.Path); err != nil {
			return false
		}
		found = true
	}
	return found
}

// removeBitmaps removes a vault's bitmaps from the images.
func (v *imagesVM) removeBitmaps(ctx context.Context, vault string) (removed []string, err error) {
	var errs []error
	for _, i := range v.images {
		if i.Format != "qcow2" || i.Unreadable != "" {
			continue
		}
		names, err := image.RemoveBitmaps(ctx, i.Path, qemu.BitmapName(vault, "p"))
		errs = append(errs, err)
		for _, n := range names {
			removed = append(removed, "bitmap "+n+" in "+i.Path)
		}
	}
	return removed, errors.Join(errs...)
}

// TakeOut removes all that is a vault's from a VM, on or off: what runs that died left, and the
// bitmaps and checkpoints that the next backup would count from. It says what it removed.
func TakeOut(ctx context.Context, vm VM, vault string) ([]string, error) {
	if v, ok := vm.(*imagesVM); ok {
		return v.removeBitmaps(ctx, vault)
	}
	if live, ok := vm.(LiveVM); ok {
		return live.Clean(ctx, vault, "")
	}
	return nil, nil
}
