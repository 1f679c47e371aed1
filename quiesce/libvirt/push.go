package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const copyReason = "a disk of the domain has an I/O thread, and this QEMU (before 9.0) would die of an export: the disks were copied to the folder for scratch files first"

// roomForCopies sees to it that all disks can be copied.
func (j *job) roomForCopies() error {
	room, err := j.folder.room()
	if err != nil {
		return err
	}
	var need int64
	for _, disk := range j.disks {
		if disk.Size == 0 {
			return fmt.Errorf("disk %s has an I/O thread, and this QEMU (before 9.0) would die of an export of it; it cannot be copied either, for its size is not known", disk.Name)
		}
		need += disk.allocated()
	}
	if need > room {
		return fmt.Errorf("%w: a disk of the domain has an I/O thread, and this QEMU (before 9.0) would die of an export of it; to copy the disks instead, %s needs %d MiB and may take %d (make room there, remove the I/O thread, or start the domain with a newer QEMU)",
			ErrScratch, j.folder.path, need>>20, max(0, room)>>20)
	}
	return nil
}

// allocated is what a copy of the disk takes at most, as far as that is known.
func (disk Disk) allocated() int64 {
	if disk.Allocation > 0 && len(disk.Chain) == 0 {
		return min(disk.Allocation, disk.Size)
	}
	return disk.Size
}

// copied waits until the job has copied all disks.
func (j *job) copied(ctx context.Context) error {
	for {
		var ours bool
		err := patiently(ctx, func(ctx context.Context) (err error) {
			ours, err = j.d.ourJob(ctx, j.folder)
			return err
		})
		if err != nil {
			return err
		}
		if !ours {
			break
		}
		if err := j.folder.check(); err != nil {
			j.short = true
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(interval):
		}
	}
	out, err := j.d.virsh(ctx, "domjobinfo", "--completed", "--anystats")
	if err != nil {
		return fmt.Errorf("outcome of the copies: %w", err)
	}
	for _, line := range strings.Split(out, "\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "Job type" {
			if value = strings.TrimSpace(value); value != "Completed" {
				return fmt.Errorf("the disks could not be copied: libvirt's job is %s", strings.ToLower(value))
			}
			return nil
		}
	}
	return errors.New("the disks were not copied: the domain has stopped, or its job was ended")
}
