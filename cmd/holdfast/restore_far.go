package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/restore"
)

// contents is a daemon that reads disks of points for whoever may restore them.
type contents interface {
	DiskContent(ctx context.Context, vault, machine, point, disk string, offset, length int64) (io.ReadCloser, error)
}

// farDisk is a disk of a point in a vault that this user may not open: the daemon that owns it reads.
type farDisk struct {
	ctx                   context.Context // of the restore, which reading is part of
	from                  contents
	vault, machine, point string
	info                  blockstore.DiskInfo
}

func (d *farDisk) Info() blockstore.DiskInfo { return d.info }
func (d *farDisk) Size() int64               { return d.info.Size }
func (d *farDisk) BlockSize() int            { return blockstore.DefaultBlockSize }

// Extents says that all is data: where zeros are is seen when they come.
func (d *farDisk) Extents(_ context.Context, off, length int64, fn func(blockstore.Extent) error) error {
	if length <= 0 {
		return nil
	}
	return fn(blockstore.Extent{Offset: off, Length: length, Kind: blockstore.Data})
}

func (d *farDisk) ReadAt(p []byte, off int64) (int, error) {
	r, err := d.from.DiskContent(d.ctx, d.vault, d.machine, d.point, d.info.Name, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	n, err := io.ReadFull(r, p)
	if err != nil && d.ctx.Err() == nil {
		return n, fmt.Errorf("disk %s from %d on: the daemon broke off, as it does where the vault is damaged: %w", d.info.Name, off+int64(n), err)
	}
	return n, errors.Join(err, d.ctx.Err())
}

// restoreFar restores disks of a point through the daemon that owns the vault: what this user writes to is opened
// by this user.
func restoreFar(ctx context.Context, k *console, w *worker, o restoreOptions) error {
	from, ok := w.Operations.(contents)
	if !ok || o.machine != (machineOptions{}) {
		return usagef("through the daemon disks alone are restored, to files, devices and standard output").
			hinted("whoever may open the vault can restore in place and make a machine again: run it as root")
	}
	points, err := w.Points(ctx, w.vault, o.ref.Machine)
	if err != nil {
		return err
	}
	p, err := blockstore.FindPoint(farPoints(points, o.ref.Machine), o.ref.Machine, o.ref.Point)
	if err != nil {
		return err
	}
	jobs, err := o.farJobs(ctx, k, w, from, p)
	if err != nil {
		return err
	}
	began := time.Now()
	var res restore.Result
	err = k.measure("restore", true, o.quiet, func(set func(done, total int64)) error {
		o.run.Progress = set
		res, err = restore.Run(ctx, jobs, o.run)
		return err
	})
	if err != nil {
		return leaving(ctx, err, leftOver(res))
	}
	return reportRestore(k, p, res, nil, o.json, time.Since(began))
}

// farJobs gives every disk of a point its target.
func (o *restoreOptions) farJobs(ctx context.Context, k *console, w *worker, from contents, p *blockstore.Point) ([]restore.Job, error) {
	targets := o.targets
	if len(targets) == 0 {
		for _, name := range diskNames(p) {
			targets = append(targets, diskTarget{disk: name})
		}
	}
	var disks []restore.Disk
	for i, t := range targets {
		info, err := p.Disk(t.disk)
		if err != nil {
			return nil, fmt.Errorf("%w: the point has %s", err, strings.Join(diskNames(p), ", "))
		}
		disks = append(disks, &farDisk{ctx: ctx, from: from, vault: w.vault, machine: p.MachineName, point: string(p.ID), info: *info})
		switch {
		case o.to == "":
		case isFolder(o.to):
			return nil, usagef("%s is a folder: through the daemon each disk is given its file", o.to).hinted("for example --disk %s=%s/%s.raw", t.disk, strings.TrimSuffix(o.to, "/"), t.disk)
		case len(targets) > 1:
			return nil, usagef("point %s@%s has %d disks, and %s takes one", p.MachineName, p.ID, len(targets), o.to).hinted("%s", oneDisk(o.to, t.disk))
		default:
			targets[i].target = o.to
		}
	}
	return o.jobs(k, disks, targets)
}

// farPoints are points as a daemon tells of them, as far as a restore needs them.
func farPoints(points []api.Point, machine string) (all []*blockstore.Point) {
	for _, a := range points {
		p := &blockstore.Point{ID: blockstore.PointID(a.ID), Machine: blockstore.MachineID(a.MachineID), MachineName: machine, Seq: a.Seq, Time: a.Time.Time, Committed: a.Committed.Time}
		for _, d := range a.Disks {
			p.Disks = append(p.Disks, blockstore.DiskInfo{Name: d.Name, Size: d.Size, Format: d.Format, LogicalSector: d.LogicalSector, PhysicalSector: d.PhysicalSector})
		}
		all = append(all, p)
	}
	return all
}
