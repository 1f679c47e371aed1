package backup

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// InUse is the reason of the consistency of a point whose image somebody used
// while it was read.
const InUse = "image was in use"

// guarded calls do with a context that ends, with the reason as its cause, when
// a writer appears on any disk.
func (r *run) guarded(ctx context.Context, do func(context.Context) error) error {
	guard, stop := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	for _, d := range r.opened {
		watchers.Go(func() {
			if err := d.image.Watch(guard); err != nil && guard.Err() == nil {
				stop(fmt.Errorf("disk %s: %w", d.Name, err))
			}
		})
	}
	err := do(guard)
	appeared := guard.Err() != nil && ctx.Err() == nil
	cause := context.Cause(guard)
	stop(nil)
	watchers.Wait()
	if appeared {
		return cause
	}
	return err
}

// read takes all disks into the point, one after the other: the vault's pipeline
// keeps all processors busy with each. At the end nothing may have changed.
func (r *run) read(ctx context.Context, b *blockstore.Backup) error {
	for _, d := range r.opened {
		if err := r.take(ctx, b, d); err != nil {
			return err // it names the disk
		}
	}
	for _, d := range r.opened {
		if err := d.image.Verify(); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
		if d.image.InUse() {
			b.SetConsistency(blockstore.Crash, InUse)
			r.result.Warnings = append(r.result.Warnings, fmt.Sprintf(
				"disk %s: %s was in use: its content may mix several moments, and a guest may not start from it", d.Name, d.Source))
		}
	}
	return ctx.Err()
}

func (r *run) take(ctx context.Context, b *blockstore.Backup, d openDisk) error {
	info := d.info()
	if r.describe != nil {
		r.describe(&info)
	}
	size, src := info.Size, blockstore.Source(d.image)
	if r.tracked != nil {
		s, say := r.tracked(&d)
		if s != nil {
			src = s
		}
		if say != nil {
			info.Mode, info.Since, info.Chain = say.Mode, say.Since, say.Chain
		}
	}
	if r.SkipUnchanged && unchanged(b.Parent(), info, d.image.InUse()) {
		err := b.KeepDisk(info)
		if err == nil {
			r.result.Skipped = append(r.result.Skipped, d.Name)
			r.done += size
			r.tell(d.Name, 0, blockstore.Sizes{})
		}
		if !errors.Is(err, blockstore.ErrHarmed) { // else it is read, and heals
			return err
		}
	}
	var mu sync.Mutex // guards last
	var last blockstore.Sizes
	err := b.AddDisk(ctx, info, paced(ctx, src, r.pace), func(s blockstore.Sizes, done int64) {
		mu.Lock()
		defer mu.Unlock()
		last = s
		r.tell(d.Name, done, s)
	})
	r.done += size
	mu.Lock()
	defer mu.Unlock()
	r.sizes.Add(last)
	return err
}

func (r *run) tell(disk string, done int64, s blockstore.Sizes) {
	if r.Progress != nil {
		s.Add(r.sizes)
		r.Progress(Progress{Disk: disk, Done: r.done + done, Total: r.total, Sizes: s})
	}
}

// info is what is known of the disk before it is read.
func (d *openDisk) info() blockstore.DiskInfo {
	logical, physical := d.image.SectorSizes()
	return blockstore.DiskInfo{
		Name: d.Name, Size: d.image.Size(), Format: d.image.Format(), Source: d.Source, Identity: d.image.Identity(),
		LogicalSector: logical, PhysicalSector: physical,
	}
}

// unchanged tells whether the parent's disk of that name holds what the disk
// holds now: the same files, untouched, read in the same way.
func unchanged(parent *blockstore.Point, now blockstore.DiskInfo, inUse bool) bool {
	if parent == nil || now.Identity == "" || inUse {
		return false
	}
	then, err := parent.Disk(now.Name)
	return err == nil && then.Identity == now.Identity && then.Size == now.Size && then.Format == now.Format
}
