package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/far"
	"github.com/holdfast-backup/holdfast/daemon/restore"
)

// farDisk is a disk of a point in a vault that this user may not open. It is read from front to end by several
// at a time, so that nothing is gained by keeping or foreseeing any of it.
type farDisk struct {
	*far.Disk
	ctx context.Context // of the restore, which reading is part of
}

func (d *farDisk) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.Size() {
		return 0, io.EOF
	}
	n := min(int64(len(p)), d.Size()-off)
	if err := d.Direct(d.ctx, p[:n], off); err != nil {
		return 0, err
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// CostlyToRead is part of restore.CostlyDisk: each reading is a request.
func (d *farDisk) CostlyToRead() {}

// restoreFar restores disks of a point through the daemon that owns the vault: what this user writes to is opened
// by this user.
func restoreFar(ctx context.Context, k *console, w *worker, o restoreOptions) error {
	if o.machine != (machineOptions{}) {
		return usagef("through the daemon disks alone are restored, to files, devices and standard output").
			hinted("whoever may open the vault can restore in place and make a machine again: run it as root")
	}
	return k.through(ctx, w, o.vault, "restore "+o.ref.Machine+"@"+o.ref.Point, func(ctx context.Context, v *far.Vault) error {
		return o.restoreThrough(ctx, k, v)
	})
}

func (o *restoreOptions) restoreThrough(ctx context.Context, k *console, v *far.Vault) error {
	if _, err := os.Stat(o.vault); errors.Is(err, fs.ErrPermission) {
		o.run.VaultPath = "" // what this user cannot reach, nothing is written into
	}
	p, err := v.Find(ctx, o.ref)
	if err != nil {
		return err
	}
	jobs, err := o.farJobs(ctx, k, v, p)
	if err != nil {
		return err
	}
	o.run.Workers = far.AtOnce // most of them wait for the daemon
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
func (o *restoreOptions) farJobs(ctx context.Context, k *console, v *far.Vault, p *blockstore.Point) ([]restore.Job, error) {
	targets := o.targets
	if len(targets) == 0 {
		for _, name := range diskNames(p) {
			targets = append(targets, diskTarget{disk: name})
		}
	}
	var disks []restore.Disk
	for i, t := range targets {
		disk, err := v.Disk(p, t.disk)
		if err != nil {
			return nil, fmt.Errorf("%w: the point has %s", err, strings.Join(diskNames(p), ", "))
		}
		disks = append(disks, &farDisk{disk, ctx})
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
