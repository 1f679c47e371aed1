package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

// keepPresent makes a point of what the images hold now: of a protected machine as any
// other backup of it, with its configuration. The other disks of the machine belong to it,
// too, as far as they can be read.
func keepPresent(ctx context.Context, k *console, o restoreOptions, p *blockstore.Point, places []placement) (*blockstore.Point, error) {
	held, err := heldDisks(places)
	if err != nil {
		return nil, err
	}
	safety, err := makeSafetyPoint(ctx, k, o, func(ctx context.Context, owner *blockstore.Owner, progress func(backup.Progress)) (*backup.Result, error) {
		q, why := protectedRequest(ctx, owner, o.ref.Machine, held)
		if q != nil {
			q.Progress = progress
			return backup.RunMachine(ctx, owner, *q)
		}
		if why != nil {
			k.say("note: the point of the present state holds disks only, no configuration: %v", why)
		}
		request := backup.Request{Machine: o.ref.Machine, Tool: toolName(), SkipUnchanged: true, Disks: held, Progress: progress}
		for _, info := range p.Disks {
			if slices.ContainsFunc(held, func(d backup.Disk) bool { return d.Name == info.Name }) {
				continue
			}
			d, err := besides(ctx, info)
			if err != nil {
				k.warn(fmt.Sprintf("disk %s is not in the point of the present state: %v", info.Name, err))
				continue
			}
			request.Disks = append(request.Disks, d)
		}
		return backup.Run(ctx, owner, request)
	})
	if err != nil {
		return nil, err
	}
	for _, l := range safety.LeftOut {
		if _, err := p.Disk(l.Name); err == nil {
			k.warn(fmt.Sprintf("disk %s is not in the point of the present state: %s", l.Name, l.Reason))
		}
	}
	return safety, nil
}

// heldDisks are the disks in the places that are to be restored.
func heldDisks(places []placement) (disks []backup.Disk, err error) {
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
		disks = append(disks, d)
	}
	return disks, nil
}

// protectedRequest is that for a protected machine whose disks are held. Without one the error
// says why not, or is nil where the machine is not protected.
func protectedRequest(ctx context.Context, owner *blockstore.Owner, name string, held []backup.Disk) (*backup.MachineRequest, error) {
	m, err := owner.Machine(ctx, name)
	if err != nil || m.Protected == nil {
		return nil, nil //nolint:nilerr // a machine without a record is not protected
	}
	vm, err := backup.Reaching{}.Open(ctx, m.Protected)
	if err != nil {
		return nil, err
	}
	off, err := backup.Held(ctx, m, vm, held)
	if err != nil {
		vm.Close()
		return nil, err
	}
	return &backup.MachineRequest{Machine: m, Tool: toolName(), SkipUnchanged: true, FallBack: true, Retries: []time.Duration{},
		Open: func(context.Context, *blockstore.Protection) (backup.VM, error) { return off, nil }}, nil
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

type safetyRun func(ctx context.Context, owner *blockstore.Owner, progress func(backup.Progress)) (*backup.Result, error)

func makeSafetyPoint(ctx context.Context, k *console, o restoreOptions, run safetyRun) (*blockstore.Point, error) {
	giveBack, err := k.borrow(ctx, o.vault, o.own.Wait)
	if err != nil {
		return nil, orNoSafety(err)
	}
	defer giveBack()
	owner, err := blockstore.Own(ctx, o.vault, o.own)
	if err != nil {
		return nil, orNoSafety(orUnreachable(o.vault, err))
	}
	var result *backup.Result
	err = k.measure("present state", true, o.quiet, func(set func(done, total int64)) error {
		result, err = run(ctx, owner, func(p backup.Progress) { set(p.Done, p.Total) })
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
	return service.Hinted(fmt.Errorf("keep what is there now as a point: %w", err), hint+"give --no-safety-point to do without one. Nothing was changed")
}
