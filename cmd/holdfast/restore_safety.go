package main

import (
	"context"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// keepPresent makes a point of what the images hold now. The other disks of the
// machine belong to it, too, as far as they can be read.
func keepPresent(ctx context.Context, k *console, o restoreOptions, p *blockstore.Point, places []placement) (*blockstore.Point, error) {
	request := backup.Request{Machine: o.ref.machine, Tool: toolName(), SkipUnchanged: true}
	restored := map[string]bool{}
	for _, at := range places {
		spec, ok := at.place.Image()
		if !ok {
			return nil, usagef("what %s holds now cannot be kept as a point", at.place.Name()).
				hinted("back it up first (qemu-nbd), or give --no-safety-point")
		}
		d, err := backup.FromImage(at.info.Name, spec)
		if err != nil {
			return nil, err
		}
		d.Source = at.place.Name()
		request.Disks = append(request.Disks, d)
		restored[at.info.Name] = true
	}
	for _, info := range p.Disks {
		if restored[info.Name] {
			continue
		}
		d, err := besides(ctx, info)
		if err != nil {
			k.warn(fmt.Sprintf("disk %s is not in the point of the present state: %v", info.Name, err))
			continue
		}
		request.Disks = append(request.Disks, d)
	}
	return makeSafetyPoint(ctx, k, o, request)
}

// besides is a disk that is not restored, where it was.
func besides(ctx context.Context, info blockstore.DiskInfo) (backup.Disk, error) {
	spec := image.Spec{Path: info.Source}
	if info.Format == "qcow2" {
		spec.Format = "qcow2"
	}
	i, err := image.Open(ctx, spec)
	if err != nil {
		return backup.Disk{}, err
	}
	defer i.Close() // it was only looked at
	return backup.FromImage(info.Name, spec)
}

func makeSafetyPoint(ctx context.Context, k *console, o restoreOptions, request backup.Request) (*blockstore.Point, error) {
	owner, err := blockstore.Own(ctx, o.vault, o.own)
	if err != nil {
		return nil, orNoSafety(orUnreachable(o.vault, err))
	}
	var result *backup.Result
	err = k.measure("present state", true, o.quiet, func(set func(done, total int64)) error {
		request.Progress = func(p backup.Progress) { set(p.Done, p.Total) }
		result, err = backup.Run(ctx, owner, request)
		return err
	})
	if closed := owner.Close(); closed != nil && err == nil {
		k.warn(fmt.Sprintf("leaving the vault failed: %v", closed))
	}
	if err != nil {
		return nil, orNoSafety(err)
	}
	for _, w := range result.Warnings {
		k.warn(w)
	}
	k.say("kept what is there now as %s@%s (%s)", result.Point.MachineName, result.Point.Label(), result.Point.ID)
	return result.Point, nil
}

func orNoSafety(err error) error {
	code, hint := explain(err)
	if code == exitInterrupted {
		return err
	}
	if hint != "" {
		hint += "; or "
	}
	return &hintError{fmt.Errorf("keep what is there now as a point: %w", err), hint + "give --no-safety-point to do without one. Nothing was changed"}
}
