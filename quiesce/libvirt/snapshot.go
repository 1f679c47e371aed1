package libvirt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// session is what stands behind a snapshot: a job of libvirt's, or one of QEMU's own.
type session interface {
	check(ctx context.Context) error
	release(ctx context.Context, committed bool) error
}

// Snapshot fixes the disks at one instant. Whatever it made is gone when it fails.
// Leftovers of runs that died are removed first. Errors: *BusyError, qemu.ErrBusy, ErrNotRunning,
// ErrTooOld, ErrScratch, what Hold says.
func (d *Domain) Snapshot(ctx context.Context, q SnapshotRequest) (*Snapshot, error) {
	s, err := d.snapshot(ctx, q)
	return s, d.wrap("snapshot", err)
}

func (d *Domain) snapshot(ctx context.Context, q SnapshotRequest) (*Snapshot, error) {
	root, err := d.running(ctx)
	if err != nil {
		return nil, err
	}
	chosen, err := d.choose(ctx, root, q.Disks)
	if err != nil {
		return nil, err
	}
	if q.RawBitmaps {
		return d.behind(ctx, chosen, q)
	}
	uid, gid := owner(root)
	f, err := openFolder(q.Scratch, d.uuid, uid, gid)
	if err != nil {
		return nil, err
	}
	j := &job{d: d, folder: f, q: q, disks: chosen}
	s, err := j.snapshot(ctx)
	if err != nil {
		// The guest goes on; what was begun is taken away although the run may have been told to end.
		return nil, errors.Join(err, j.release(context.WithoutCancel(ctx), false))
	}
	return s, nil
}

// running is the XML of the domain that runs.
func (d *Domain) running(ctx context.Context) (*element, error) {
	root, err := d.tree(ctx)
	if err == nil && root.attr("id") == "" {
		err = ErrNotRunning
	}
	return root, err
}

// chosen is a disk that a snapshot is asked for.
type chosen struct {
	Disk
	scan string
}

// choose finds the disks of a request; those that are not left out where it names none.
func (d *Domain) choose(ctx context.Context, root *element, requests []qemu.DiskRequest) ([]chosen, error) {
	disks := d.sized(ctx, disksOf(root))
	var list []chosen
	if len(requests) == 0 {
		for _, disk := range disks {
			if disk.LeftOut == "" {
				list = append(list, chosen{Disk: disk})
			}
		}
	}
	for _, r := range requests {
		i := slices.IndexFunc(disks, func(disk Disk) bool { return disk.Name == r.Name })
		switch {
		case i < 0:
			return nil, fmt.Errorf("the domain has no disk %s", r.Name)
		case !disks[i].possible():
			return nil, fmt.Errorf("disk %s cannot be backed up: it is %s", r.Name, disks[i].LeftOut)
		case disks[i].Busy != "":
			return nil, &BusyError{Domain: d.name, What: disks[i].Busy + " on disk " + r.Name}
		}
		list = append(list, chosen{Disk: disks[i], scan: r.Scan})
	}
	if len(list) == 0 {
		return nil, errors.New("no disks")
	}
	return list, nil
}

// possible tells whether the disk can be backed up when it is asked for.
func (disk Disk) possible() bool { return disk.LeftOut == "" || disk.Shareable || disk.Transient }

// Watch returns when the snapshot cannot be trusted any more or must end, with the
// reason, and nil when ctx ends.
func (s *Snapshot) Watch(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.Check(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Check is one look of Watch. Without error, all that was read before it is what the
// disks held at Time: call it after the last read and before the commit.
func (s *Snapshot) Check(ctx context.Context) error { return s.session.check(ctx) }

// Release ends reading and removes all that the snapshot made, whatever happens. committed
// says whether the point is in the vault: then its checkpoint stays, else the
// parent's, which holds what changed meanwhile. ctx is not the run's, which may have ended.
func (s *Snapshot) Release(ctx context.Context, committed bool) error {
	return s.session.release(ctx, committed)
}
