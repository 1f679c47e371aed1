package libvirt

import (
	"context"
	"errors"

	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// session is what stands behind a snapshot: a job of libvirt's, or one of QEMU's own.
type session interface {
	check(ctx context.Context) error
	release(ctx context.Context, committed bool) error
}

// Plan says what a backup of some disks would do, by name; of all that are not left out
// where names is empty. parent is the name of the checkpoint that counts from the last
// point on; empty: there is none. It changes nothing.
func (d *Domain) Plan(ctx context.Context, names []string, q SnapshotRequest) ([]DiskPlan, error) {
	return nil, errors.New("not built yet")
}

// Snapshot fixes the disks at one instant. Whatever it made is gone when it fails.
// Leftovers of runs that died are removed first. Errors: *BusyError, ErrNotRunning, ErrTooOld,
// what Hold says.
func (d *Domain) Snapshot(ctx context.Context, q SnapshotRequest) (*Snapshot, error) {
	return nil, errors.New("not built yet")
}

// Watch returns when the snapshot cannot be trusted any more or must end, with the
// reason, and nil when ctx ends.
func (s *Snapshot) Watch(ctx context.Context) error { <-ctx.Done(); return nil }

// Check is one look of Watch. Without error, all that was read before it is what the
// disks held at Time: call it after the last read and before the commit.
func (s *Snapshot) Check(ctx context.Context) error { return s.session.check(ctx) }

// Release ends reading and removes all that the snapshot made, whatever happens. committed
// says whether the point is in the vault: then its checkpoint stays, else the
// parent's, which holds what changed meanwhile. ctx is not the run's, which may have ended.
func (s *Snapshot) Release(ctx context.Context, committed bool) error {
	return s.session.release(ctx, committed)
}

// Leftover is something of ours that a run that died has left behind.
type Leftover struct {
	Kind string // job, checkpoint, bitmap, scratch, or what qemu's Leftovers say
	Name string
}

// Leftovers lists what is left of runs for a vault; for all vaults where vault is empty. Checkpoints
// that a vault still counts from are among them: keep names them.
func (d *Domain) Leftovers(ctx context.Context, vault string, o qemu.ScratchOptions) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}

// Clean removes what Leftovers lists, but the checkpoints and bitmaps named by keep. It works on
// domains that are off, too, whose checkpoints would keep virsh from undefining them.
func (d *Domain) Clean(ctx context.Context, vault string, keep []string, o qemu.ScratchOptions) ([]Leftover, error) {
	return nil, errors.New("not built yet")
}
