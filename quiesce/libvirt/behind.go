package libvirt

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// behindLibvirt is a snapshot of QEMU's own, made through the pass-through of the monitor.
type behindLibvirt struct {
	d    *Domain
	s    *qemu.Snapshot
	undo []string // checkpoints that count for nobody once the point is in the vault
}

// behind takes a snapshot by commands to QEMU, so that raw disks are tracked, too.
func (d *Domain) behind(ctx context.Context, disks []chosen, q SnapshotRequest) (*Snapshot, error) {
	if err := d.idle(ctx); err != nil {
		return nil, err
	}
	m, names, err := d.machine(ctx, disks)
	if err != nil {
		return nil, err
	}
	request := q.SnapshotRequest
	request.Disks = nil
	byName := map[string]chosen{}
	for i, disk := range disks {
		request.Disks = append(request.Disks, qemu.DiskRequest{Name: names[i], Scan: disk.scan})
		byName[names[i]] = disk
	}
	s, err := m.Snapshot(ctx, request)
	if err != nil {
		return nil, err
	}
	b := &behindLibvirt{d: d, s: s}
	if vault, ours := oursFor(q.Point); ours {
		b.undo, _ = d.staleCheckpoints(ctx, vault, nil) // none of them is missed if they stay
	}
	out := &Snapshot{Time: s.Time, session: b}
	for _, sd := range s.Disks {
		disk := byName[sd.Name]
		out.Disks = append(out.Disks, &SnapshotDisk{Source: sd, Disk: disk.Disk, Name: disk.Disk.Name, Mode: sd.Mode, Reason: sd.Reason})
	}
	return out, nil
}

// idle is a *BusyError while libvirt runs a job on the domain.
func (d *Domain) idle(ctx context.Context) error {
	ours, err := d.ourJob(ctx, &folder{})
	if ours {
		return errors.New("libvirt still runs a backup job of an earlier run of ours; remove it (holdfast doctor --clean)")
	}
	return err
}

// machine opens QEMU behind libvirt, and says what it calls the disks.
func (d *Domain) machine(ctx context.Context, disks []chosen) (*qemu.Machine, []string, error) {
	m, err := qemu.Open(ctx, d.Monitor(), qemu.Options{PID: d.pid()})
	if err != nil {
		return nil, nil, err
	}
	known, err := m.Disks(ctx)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	for _, disk := range disks {
		name := ""
		for _, k := range known {
			if disk.Alias != "" && (strings.Contains(k.QDev+"/", "/"+disk.Alias+"/") || k.QDev == disk.Alias) {
				name = k.Name
			}
		}
		if name == "" {
			return nil, nil, fmt.Errorf("QEMU has no device %q for disk %s", disk.Alias, disk.Name)
		}
		names = append(names, name)
	}
	return m, names, nil
}

// check is part of session.
func (b *behindLibvirt) check(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error { return b.s.Check(ctx) })
}

// release is part of session.
func (b *behindLibvirt) release(ctx context.Context, committed bool) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	errs := []error{b.s.Release(ctx, committed)}
	if committed {
		for _, name := range b.undo {
			errs = append(errs, b.d.deleteCheckpoint(ctx, name))
		}
	}
	return errors.Join(errs...)
}
