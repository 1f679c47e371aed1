package libvirt

import (
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// Folder is where scratch files and sockets lie unless another one is given.
// libvirt gives QEMU access to each scratch file, under AppArmor and SELinux alike.
const Folder = qemu.DefaultScratch

// SnapshotRequest is what a snapshot shall be of. Its names of bitmaps are also those of
// the checkpoints.
type SnapshotRequest struct {
	qemu.SnapshotRequest
	// RawBitmaps has raw disks tracked, too, by commands to QEMU's monitor behind libvirt's
	// back: libvirt marks the domain as tainted, and no checkpoints are used.
	RawBitmaps bool
}

// Snapshot holds all disks of a domain at one instant until it is released.
type Snapshot struct {
	Time  time.Time // the instant
	Disks []*SnapshotDisk

	session session
}

// SnapshotDisk is one disk of a snapshot: a source of a backup.
type SnapshotDisk struct {
	blockstore.Source
	Disk   Disk // as it was found before the snapshot
	Name   string
	Mode   qemu.Mode
	Reason string // why Mode is qemu.ModeScan
}

// DiskPlan is what a backup would do with a disk if it began now.
type DiskPlan struct {
	Disk    Disk
	Mode    qemu.Mode
	Reason  string // why Mode is qemu.ModeScan
	Bytes   int64  // to be read at most; 0: not known
	Scratch string // folder of the scratch file
	Warning string // what an operator should know; may be empty
	Refusal string // why it cannot be backed up at all; empty: it can
}

// BusyError says that something else works on a domain.
type BusyError struct {
	Domain string
	What   string // for example "a backup job of another program"
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("domain %q is busy with %s: try again when that has ended", e.Domain, e.What)
}

// Errors of snapshots, wrapped with facts.
var (
	ErrNotRunning = errors.New("the domain does not run")
	ErrTooOld     = errors.New("this libvirt makes no backups of running domains (6.10 or newer is needed)")
	ErrScratch    = qemu.ErrScratch
	ErrGone       = errors.New("the backup job is gone")
)

const (
	interval     = 500 * time.Millisecond // between looks at a snapshot
	beginTimeout = 20 * time.Second       // for backup-begin, during which the guest is frozen
	endTimeout   = 2 * time.Minute        // for taking everything away
)
