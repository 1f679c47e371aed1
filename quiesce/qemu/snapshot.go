package qemu

import (
	"context"
	"errors"
	"time"
)

// SnapshotRequest is what a snapshot shall be of.
type SnapshotRequest struct {
	Disks  []DiskRequest
	Parent string // bitmap that counts from the parent point on; empty: a first point
	Point  string // bitmap that shall count from this snapshot on: see BitmapName
	// Hold calls during at the instant to be kept, once, and returns its error or its
	// own. nil just calls it.
	Hold    func(ctx context.Context, during func(context.Context) error) error
	Scratch ScratchOptions
}

// DiskRequest names a disk of the machine.
type DiskRequest struct {
	Name string // as Machine.Disks has it
	Scan string // why no bitmap is to be believed; empty: it is, unless QEMU gives reason not to
}

// Snapshot holds all disks of a machine at one instant until it is released.
type Snapshot struct {
	Time  time.Time // the instant
	Disks []*SnapshotDisk

	m *Machine
}

// SnapshotDisk is one disk of a snapshot: a source of a backup.
type SnapshotDisk struct {
	*Export
	Disk   Disk // as it was found before the snapshot
	Name   string
	Mode   Mode
	Reason string // why Mode is ModeScan
}

// Errors that callers tell apart.
var (
	// ErrBusy is wrapped where another run works on the machine.
	ErrBusy = errors.New("another backup works on this machine")
	// ErrForeignServer is wrapped where QEMU already runs an NBD server that is not ours.
	ErrForeignServer = errors.New("QEMU runs an NBD server for somebody else, and it can run only one: stop it (nbd-server-stop) if nobody needs it")
)

// Snapshot fixes the disks at one instant. Whatever it made is gone when it fails.
// Leftovers of runs that died are removed first. Errors: ErrBusy, ErrForeignServer, ErrTooOld, what Hold says.
func (m *Machine) Snapshot(ctx context.Context, q SnapshotRequest) (*Snapshot, error) {
	return nil, errors.New("not built yet")
}

// Watch returns when the snapshot cannot be trusted any more or must end, with the
// reason, and nil when ctx ends.
func (s *Snapshot) Watch(ctx context.Context) error { <-ctx.Done(); return nil }

// Check is one look of Watch. Without error, all that was read before it is what the
// disks held at Time: call it after the last read and before the commit.
func (s *Snapshot) Check(ctx context.Context) error { return nil }

// Release ends reading and removes all that the snapshot made, whatever happens. committed
// says whether the point is in the vault: then its bitmap stays, else the
// parent's, which gets back what changed meanwhile. ctx is not the run's, which may have ended.
func (s *Snapshot) Release(ctx context.Context, committed bool) error { return nil }
