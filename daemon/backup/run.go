package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// run is one backup being made.
type run struct {
	Request
	opened []openDisk
	result Result
	pace   *blockstore.Pace // of reading

	// Sums over the disks that are finished; one disk is read at a time.
	total, done int64 // bytes
	sizes       blockstore.Sizes
}

// openDisk is a disk of the request with what was opened for it.
type openDisk struct {
	Disk
	image Image
}

// Run makes one recovery point of a machine. Errors: what the disks, the vault
// and ctx say, named by disk.
func Run(ctx context.Context, owner *blockstore.Owner, q Request) (*Result, error) {
	result, err := readImages(ctx, owner, q)
	if err != nil {
		return nil, fmt.Errorf("back up %.64s: %w", q.Machine, err)
	}
	return result, nil
}

func readImages(ctx context.Context, owner *blockstore.Owner, q Request) (_ *Result, err error) {
	if err := q.Check(owner.Info().Path); err != nil {
		return nil, err
	}
	r := &run{Request: q, pace: blockstore.NewPace(q.Rate)}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	b, err := owner.Begin(ctx, r.options())
	if err != nil {
		return nil, err
	}
	defer b.Abort()
	err = r.guarded(ctx, func(ctx context.Context) error {
		if r.before != nil {
			if err := r.before(ctx, b); err != nil {
				return err
			}
		}
		return r.read(ctx, b)
	})
	if err == nil {
		r.result.Point, err = b.Commit(ctx)
		r.result.Healed = b.Healed()
	}
	if err != nil {
		return nil, err
	}
	return &r.result, nil
}

// open opens all disks, so that whatever is wrong with one is known before
// anything is read.
func (r *run) open(ctx context.Context) error {
	for _, d := range r.Disks {
		image, err := d.Open(ctx)
		if err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
		r.opened = append(r.opened, openDisk{d, image})
		r.total += image.Size()
	}
	return nil
}

// close closes what was opened. A disk that was read whole stays read when its
// closing fails, so that is of interest only beside another error.
func (r *run) close() error {
	var errs []error
	for _, d := range r.opened {
		if err := d.image.Close(); err != nil && r.result.Point == nil {
			errs = append(errs, fmt.Errorf("close disk %s: %w", d.Name, err))
		}
	}
	return errors.Join(errs...)
}

const handedOver = "image that %.64s opened, of a machine that is off; nobody can tell whether it was shut down cleanly"

const nobodyCanTell = "image of a machine that is off; nobody can tell whether it was shut down cleanly"

// options describe the point. All that can be known of a machine that is off is
// that its disks are as after a power cut, or better.
func (r *run) options() blockstore.BackupOptions {
	var sources []string
	for _, d := range r.Disks {
		if d.At != "" {
			d.Source = d.At
		}
		sources = append(sources, d.Source)
	}
	o := blockstore.BackupOptions{
		Machine: r.Machine, Time: time.Now().UTC(), Tool: r.Tool, Asked: blockstore.Crash, Reached: blockstore.Crash, Reason: nobodyCanTell, Beside: sources,
		WriteRate: r.WriteRate, Workers: r.Depth,
	}
	if r.From != "" {
		o.Reason = fmt.Sprintf(handedOver, r.From)
	}
	if r.asked != "" {
		o.Asked = r.asked
	}
	if r.cleanOff {
		o.Reached, o.Reason = blockstore.Application, "the guest had shut itself down"
	}
	return o
}
