package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Reaching says how VMs are reached.
type Reaching struct {
	Scratch    Scratch // the zero value: what the machine's record says
	AllowInUse bool    // images of machines that are off
}

// Open reaches the VM of a protected machine. A QEMU process that does not run is taken for
// a machine that is off, if its disks are still where they were. Errors: ErrGone, and
// what the host says.
func (o Reaching) Open(ctx context.Context, p *blockstore.Protection) (VM, error) {
	if o.Scratch == (Scratch{}) {
		o.Scratch = Scratch{p.Scratch, p.ScratchCap, p.ScratchFree}
	}
	switch p.Kind() {
	case blockstore.KindLibvirt:
		vm, err := openLibvirt(ctx, p, o)
		if err != nil {
			return nil, err // a nil *libvirtVM must not become a VM
		}
		return vm, nil
	case blockstore.KindQEMU:
		vm, err := openQEMU(ctx, *p.QEMU, o.Scratch)
		if err == nil {
			return vm, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, err
		}
		off := &imagesVM{vm: blockstore.VM{UUID: p.VM.UUID, Name: p.VM.Name, Kind: blockstore.KindQEMU}, status: "off", images: p.Images}
		if !off.exist() {
			return nil, fmt.Errorf("%w: nobody listens at %s, and its disks are not where they were", ErrGone, p.QEMU.QMP)
		}
		return off, nil
	}
	vm := p.VM
	vm.Kind = blockstore.KindImages
	return &imagesVM{vm: vm, status: "off", images: p.Images, inUse: o.AllowInUse}, nil
}
