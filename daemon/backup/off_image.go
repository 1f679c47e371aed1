package backup

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
)

// offImage is a disk of a domain that is off, read through QEMU wherever it lies. That the
// domain stays off is asked of libvirt.
type offImage struct {
	*libvirt.ImageReader
	domain *libvirt.Domain
	format string
}

// Format is part of Image.
func (i *offImage) Format() string { return i.format }

// SectorSizes is part of Image: what a machine sees unless it is told otherwise.
func (i *offImage) SectorSizes() (logical, physical int) { return 512, 512 }

// Identity is part of Image: nobody can tell whether it was written to.
func (i *offImage) Identity() string { return "" }

// InUse is part of Image.
func (i *offImage) InUse() bool { return false }

const offEvery = 700 * time.Millisecond

// Watch is part of Image.
func (i *offImage) Watch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(offEvery):
		}
		if err := i.stillOff(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Verify is part of Image.
func (i *offImage) Verify() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanTimeout)
	defer cancel()
	return i.stillOff(ctx)
}

func (i *offImage) stillOff(ctx context.Context) error {
	state, _, err := i.domain.State(ctx)
	if err == nil && state.Active() {
		err = fmt.Errorf("domain %q was started while it was read: what was read is not from one moment", i.domain.Name())
	}
	return err
}
