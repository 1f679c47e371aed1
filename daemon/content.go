package daemon

import (
	"context"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/server"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// What clients read of points whose vault they may not open: content of disks, what their maps tell, and
// configurations. No file system of a guest is looked at for that: clients do that themselves.

// openDisk opens a disk of a point, and keeps its vault from being left until it is closed.
func (d *Daemon) openDisk(ctx context.Context, vault, machine, point, disk string) (server.Disk, error) {
	opened, release, err := d.diskOf(ctx, vault, machine, point, disk)
	if err != nil {
		return nil, err
	}
	return &openedDisk{Disk: opened, release: release}, nil
}

// openedDisk is a disk whose vault is kept open for it.
type openedDisk struct {
	*blockstore.Disk
	release func()
}

// Close lets the vault go.
func (o *openedDisk) Close() error {
	o.release()
	return nil
}

// diskOf finds a disk. Whoever reads it in small pieces asks for it a thousand times a second, so
// that it is remembered for a while.
func (d *Daemon) diskOf(ctx context.Context, vault, machine, point, disk string) (opened *blockstore.Disk, release func(), err error) {
	h, err := d.vaults.find(vault)
	if err != nil {
		return nil, nil, err
	}
	c, release, err := h.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	key := foundKey{c, machine, point, disk}
	if opened = d.found.lately(key); opened != nil {
		return opened, release, nil
	}
	err = unlessHung(c.hung, func() error { return c.hang }, func() error {
		done := d.found.looks()
		p, err := service.FindPoint(ctx, c.owner.Vault, api.PointRef{Machine: machine, Point: point})
		if err == nil {
			opened, err = c.owner.OpenDisk(p, disk)
		}
		if err == nil {
			done(key, opened)
		}
		return err
	})
	if err != nil {
		release()
		return nil, nil, err
	}
	return opened, release, nil
}

// mapDisk tells where a disk holds data.
func (d *Daemon) mapDisk(ctx context.Context, vault, machine, point, disk string, offset int64, most int) (m api.DiskRanges, err error) {
	opened, release, err := d.diskOf(ctx, vault, machine, point, disk)
	if err != nil {
		return m, err
	}
	defer release()
	return service.MapDisk(ctx, opened, offset, most)
}

// compareDisk tells where a disk differs between two points.
func (d *Daemon) compareDisk(ctx context.Context, vault string, a, b api.PointRef, disk string, fn func(api.Range) error) error {
	one, release, err := d.diskOf(ctx, vault, a.Machine, a.Point, disk)
	if err != nil {
		return err
	}
	defer release()
	other, release, err := d.diskOf(ctx, vault, b.Machine, b.Point, disk)
	if err != nil {
		return err
	}
	defer release()
	return blockstore.Diff(ctx, one, other, func(offset, length int64) error {
		return fn(api.Range{Offset: offset, Length: length})
	})
}

// readConfig reads a file of a point's configuration.
func (d *Daemon) readConfig(ctx context.Context, vault, machine, point, name string) (content []byte, err error) {
	err = d.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		p, err := service.FindPoint(ctx, v, api.PointRef{Machine: machine, Point: point})
		if err == nil {
			content, err = v.ReadConfig(ctx, p, name)
		}
		return err
	})
	return content, err
}

// names lists machines by id and name alone.
func (d *Daemon) names(ctx context.Context, vault string) (all []api.Machine, err error) {
	err = d.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		machines, err := v.Machines(ctx)
		for _, m := range machines {
			all = append(all, api.Machine{ID: string(m.ID), Name: m.Name})
		}
		return err
	})
	return all, err
}
