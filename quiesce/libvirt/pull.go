package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// changedBitmap is the name by which exports offer what changed since the parent point.
const changedBitmap = "hf-changed"

// job is a snapshot by a backup job of libvirt's.
type job struct {
	d      *Domain
	folder *folder
	q      SnapshotRequest
	disks  []chosen
	modes  []diskMode // by index in disks

	socket  string
	unmade  bool      // libvirt is to make scratch files
	copies  bool      // the disks are copied to files, for this QEMU would die of exports
	until   time.Time // libvirt may begin the job until then, although we gave up
	short   bool      // scratch files came to their limit
	readers []io.Closer
}

type diskMode struct {
	mode   qemu.Mode
	reason string
}

func (j *job) snapshot(ctx context.Context) (*Snapshot, error) {
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	s := &Snapshot{session: j}
	hold := j.q.Hold
	if hold == nil {
		hold = func(ctx context.Context, during func(context.Context) error) error { return during(ctx) }
	}
	err := hold(ctx, func(ctx context.Context) error {
		err := j.begin(ctx)
		s.Time = time.Now().UTC()
		return err
	})
	if err != nil {
		return nil, err
	}
	if j.copies {
		if err := j.copied(ctx); err != nil {
			return nil, err
		}
	}
	return s, j.open(ctx, s)
}

// prepare does all that can be done while the guest runs.
func (j *job) prepare(ctx context.Context) error {
	d := j.d
	if _, err := d.abort(ctx, j.folder, time.Time{}); err != nil {
		return err
	}
	if _, err := d.ourJob(ctx, j.folder); err != nil {
		return err
	}
	if _, err := j.folder.clear(); err != nil {
		return fmt.Errorf("remove scratch files of an earlier run: %w", err)
	}
	if err := j.folder.check(); err != nil {
		return err
	}
	for _, disk := range j.disks {
		j.copies = j.copies || disk.IOThread != 0
	}
	j.copies = j.copies && d.diesOfExports(ctx)
	if j.copies {
		if err := j.roomForCopies(); err != nil {
			return err
		}
		return j.makeFiles()
	}
	if err := j.chooseModes(ctx); err != nil {
		return err
	}
	err := j.makeFiles()
	if err != nil {
		return err
	}
	j.socket, err = d.socket(j.folder)
	return err
}

// makeFiles makes the scratch files, or those that the disks are copied to. libvirt would have QEMU
// make them, by a job during which QEMU dies of being asked for its nodes: as libvirt itself does for
// whoever wants statistics of the domain (virsh domstats, monitoring programs).
func (j *job) makeFiles() error {
	for _, disk := range j.disks {
		if disk.Size == 0 { // not known
			j.unmade = true
			return nil
		}
	}
	for _, disk := range j.disks {
		if err := qemu.WriteScratchImage(j.scratch(disk), disk.Size, j.folder.uid, j.folder.gid); err != nil {
			return fmt.Errorf("disk %s: %w", disk.Name, err)
		}
	}
	return nil
}

// chooseModes decides how each disk is read, and removes checkpoints that are in the way.
func (j *job) chooseModes(ctx context.Context) error {
	var parent *checkpoint
	var err error
	if j.q.Parent != "" {
		if parent, err = j.d.checkpoint(ctx, j.q.Parent, true); err != nil {
			return err
		}
	}
	used := false
	for _, disk := range j.disks {
		mode, why := parent.mode(disk.Disk, qemu.DiskRequest{Name: disk.Name, Scan: disk.scan}, j.q.Parent)
		used = used || mode == qemu.ModeBitmap
		j.modes = append(j.modes, diskMode{mode, why})
	}
	if !used && parent != nil && parent.broken() {
		// Nothing can be counted from it any more, and libvirt may stumble over it.
		if err := j.d.deleteCheckpoint(ctx, j.q.Parent); err != nil {
			return err
		}
	}
	vault, ours := oursFor(j.q.Point)
	if !ours {
		return nil
	}
	_, err = j.d.cleanCheckpoints(ctx, vault, []string{j.q.Parent})
	return err
}

// broken tells whether a bitmap of the checkpoint is missing or cannot be used.
func (c *checkpoint) broken() bool {
	for _, t := range c.disks {
		if t.changed < 0 {
			return true
		}
	}
	return false
}

// begin starts the job; the snapshot is of a moment during this call.
func (j *job) begin(ctx context.Context) error {
	args := []any{"--backupxml", document(j.backupXML().String())}
	if !j.unmade {
		args = append(args, "--reuse-external")
	}
	if c := j.checkpointXML(); c != nil {
		args = append(args, "--checkpointxml", document(c.String()))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, beginTimeout, fmt.Errorf("no backup job within %v", beginTimeout))
	defer cancel()
	_, err := j.d.virsh(ctx, "backup-begin", args...)
	var refused *Error
	if err != nil && (!errors.As(err, &refused) || unreachable(err)) {
		j.until = time.Now().Add(35 * time.Second) // libvirt gives up after 30
	}
	switch {
	case says(err, "incremental backup is not supported"):
		return fmt.Errorf("%w: %w", ErrTooOld, err)
	case says(err, "cannot acquire state change lock", "another job is active", "a backup job is already", "already active"):
		return fmt.Errorf("%w (%w)", &BusyError{Domain: j.d.name, What: "another job"}, err)
	case says(err, "Permission denied"):
		return fmt.Errorf("%w (QEMU may not use %s: its profile of AppArmor or SELinux, or the owner of the folder, keeps it out; %s is where the usual ones let it)", err, j.folder.path, Folder)
	}
	return err
}

// backupXML describes the job.
func (j *job) backupXML() *element {
	root := &element{name: "domainbackup"}
	root.set("mode", "pull")
	if j.copies {
		root.set("mode", "push")
	} else {
		root.add("server", "transport", "unix", "socket", j.socket)
	}
	disks := root.add("disks")
	for i, disk := range j.disks {
		e := disks.add("disk", "name", disk.Name, "backup", "yes", "type", "file", "backupmode", "full")
		if j.copies {
			e.add("target", "file", j.scratch(disk))
			e.add("driver", "type", "qcow2")
			continue
		}
		e.set("exportname", disk.Name)
		if j.modes[i].mode == qemu.ModeBitmap {
			e.set("backupmode", "incremental")
			e.set("incremental", j.q.Parent)
			e.set("exportbitmap", changedBitmap)
		}
		e.add("scratch", "file", j.scratch(disk))
		e.add("driver", "type", "qcow2")
	}
	return root
}

func (j *job) scratch(disk chosen) string {
	return j.folder.file(strings.ReplaceAll(disk.Name, "/", "_") + ".qcow2")
}

// checkpointXML describes the new checkpoint; nil where there is none to be.
func (j *job) checkpointXML() *element {
	if j.q.Point == "" || j.copies {
		return nil
	}
	root := &element{name: "domaincheckpoint"}
	root.add("name").setText(j.q.Point)
	disks, any := root.add("disks"), false
	for _, disk := range j.disks {
		kind := "no"
		if disk.Format == "qcow2" && !disk.ReadOnly {
			kind, any = "bitmap", true
		}
		disks.add("disk", "name", disk.Name, "checkpoint", kind)
	}
	if !any {
		return nil
	}
	return root
}

// open connects to the exports, or to files that the disks were copied to.
func (j *job) open(ctx context.Context, s *Snapshot) error {
	for i, disk := range j.disks {
		out := &SnapshotDisk{Disk: disk.Disk, Name: disk.Name}
		if j.copies {
			out.Mode, out.Reason = qemu.ModeScan, copyReason
			r, err := openImage(ctx, imageSpec{node: fileNode(j.scratch(disk), "qcow2")})
			if err != nil {
				return err
			}
			j.readers, out.Source = append(j.readers, r), r
			s.Disks = append(s.Disks, out)
			continue
		}
		out.Mode, out.Reason = j.modes[i].mode, j.modes[i].reason
		o := qemu.ExportOptions{Socket: j.socket, Export: disk.Name}
		if out.Mode == qemu.ModeBitmap {
			o.Bitmap = changedBitmap
		}
		e, err := qemu.OpenExport(ctx, o)
		if err != nil {
			return err
		}
		j.readers, out.Source = append(j.readers, e), e
		s.Disks = append(s.Disks, out)
	}
	return nil
}

// check is part of session.
func (j *job) check(ctx context.Context) error {
	if err := j.folder.check(); err != nil {
		j.short = true
		return err
	}
	if j.copies {
		return nil // the copies are whole
	}
	return patiently(ctx, func(ctx context.Context) error {
		ours, err := j.d.ourJob(ctx, j.folder)
		var busy *BusyError
		switch {
		case errors.As(err, &busy):
			return fmt.Errorf("%w: now there is %s", ErrGone, busy.What)
		case err != nil || ours:
			return err
		}
		state, reason, err := j.d.State(ctx)
		if err != nil {
			return err
		}
		return fmt.Errorf("%w: the domain's state is %s (%s)", ErrGone, state, reason)
	})
}

// release is part of session.
func (j *job) release(ctx context.Context, committed bool) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	var errs []error
	for _, r := range j.readers {
		errs = append(errs, r.Close())
	}
	if _, err := j.d.abort(ctx, j.folder, j.until); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, j.resume(ctx))
	if name := j.useless(committed); name != "" {
		errs = append(errs, patiently(ctx, func(ctx context.Context) error { return j.d.deleteCheckpoint(ctx, name) }))
	}
	return errors.Join(append(errs, j.folder.close())...)
}

// useless is the checkpoint that nothing counts from any more.
func (j *job) useless(committed bool) string {
	if committed {
		return j.q.Parent
	}
	return j.q.Point
}

// resume lets a guest go on that stopped because our scratch files ran out of space.
func (j *job) resume(ctx context.Context) error {
	state, reason, err := j.d.State(ctx)
	if err != nil || state != Paused || reason != "I/O error" {
		return nil
	}
	if j.folder.check() == nil && !j.short {
		return nil // it stopped for a reason of its own
	}
	if _, err := j.folder.clear(); err != nil {
		return err
	}
	if _, err := j.d.virsh(ctx, "resume"); err != nil {
		return j.d.wrap("the guest was stopped because the folder for scratch files is full, and could not be resumed; resume", err)
	}
	return nil
}
