package backup

import (
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// off backs up a VM that is off, from its images.
func (r *machineRun) off(ctx context.Context, vm VM) error {
	disks, err := vm.Disks(ctx)
	if err != nil {
		return err
	}
	chosen, left, unknown, err := Choose(r.Machine.Protected, disks)
	if err != nil {
		return err
	}
	r.warnOfAbsent(vm, unknown)
	names := make([]string, len(chosen))
	byName := map[string]*VMDisk{}
	for i := range chosen {
		names[i] = chosen[i].Name
		byName[names[i]] = &chosen[i]
	}
	images, err := vm.Images(ctx, names)
	if err != nil {
		return err
	}
	t, err := r.track(ctx, images)
	if err != nil {
		return err
	}
	q := Request{Machine: r.Machine.Name, Disks: images, Tool: r.Tool, SkipUnchanged: r.SkipUnchanged, Rate: r.Rate, WriteRate: r.WriteRate, Depth: r.Depth}
	q.asked, q.cleanOff = r.Machine.Protected.Consistency, r.facts.Clean
	if !r.facts.Clean && q.asked != blockstore.Crash && !r.Machine.Protected.FallBack && !r.FallBack {
		return &quiesce.NotReachedError{Asked: q.asked, Reached: blockstore.Crash, Reason: nobodyCanTell}
	}
	if r.Progress != nil {
		q.Progress = func(p Progress) { p.Phase = PhaseRead; r.Progress(p) }
	}
	q.describe = func(d *blockstore.DiskInfo) {
		if known := byName[d.Name]; known != nil {
			d.Serial, d.Bus, d.BootOrder = known.Serial, known.Bus, known.BootOrder
		}
	}
	t.describe = q.describe
	q.before = func(ctx context.Context, b *blockstore.Backup) error {
		b.SetVM(r.facts.VM, nil)
		for _, l := range left {
			b.LeaveOut(l)
		}
		if err := t.settle(ctx, b); err != nil {
			return err
		}
		state, lacks := vm.State(ctx)
		r.phase(PhaseStore)
		return r.addConfig(ctx, vm, b, state, lacks)
	}
	q.tracked = t.source
	result, err := readImages(ctx, r.owner, q)
	if err != nil {
		return err
	}
	result.Warnings = append(r.result.Warnings, result.Warnings...)
	result.Notes = append(r.result.Notes, fmt.Sprintf("the VM is %s: its images were read", r.facts.Status))
	r.result = *result
	return nil
}

// warnOfAbsent says which disks a point lacks though nobody left them out, and which that are left out there are none of.
func (r *machineRun) warnOfAbsent(vm VM, unknown []string) {
	for _, name := range unknown {
		r.warn("disk %s is to be left out, and the VM has no such disk", name)
	}
	if images, ok := vm.(*imagesVM); ok {
		for _, i := range images.images {
			if i.Unreadable != "" && !slices.Contains(r.Machine.Protected.Exclude, i.Name) {
				r.warn("disk %s (%s) is not in the point, since the VM is off: %s; start the VM, or exclude the disk", i.Name, i.Path, i.Unreadable)
			}
		}
	}
}
