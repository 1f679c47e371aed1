package qemu

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// Snapshot holds disks of a machine at one instant until it is released.
type Snapshot struct {
	Time    time.Time // the instant
	Disks   []*SnapshotDisk
	Cleaned []Leftover // of runs that died, removed before

	m       *Machine
	request SnapshotRequest
	vault   string
	run     *run
	running bool // the guest ran when the snapshot was taken

	stop    context.CancelFunc // ends the guard
	guarded sync.WaitGroup     // of the guard
	once    sync.Once
	ended   chan struct{} // closed when why is set
	why     error         // the snapshot is not to be trusted any more

	broken    atomic.Pointer[error] // what reads return, once set
	mustLetGo atomic.Bool           // it has ended, and the guest may still wait for its jobs
}

// SnapshotDisk is one disk of a snapshot: a source of a backup.
type SnapshotDisk struct {
	*Export
	Disk   Disk // as it was found before the snapshot
	Name   string
	Mode   Mode
	Reason string // why Mode is ModeScan

	index int
}

// Errors that callers tell apart.
var (
	// ErrBusy is wrapped where another run works on the machine.
	ErrBusy = errors.New("another backup works on this machine")
	// ErrInUse is wrapped where a job of others, or a migration, works on the machine or a disk.
	ErrInUse = errors.New("something else is at work")
	// ErrForeignServer is wrapped where QEMU already runs an NBD server that is not ours.
	ErrForeignServer = errors.New("QEMU runs an NBD server for somebody else, and it can run only one: end that (nbd-server-stop) if nobody needs it")
)

// Snapshot fixes disks at one instant. Whatever it made is gone when it fails. Leftovers
// of runs that died are removed first, and bitmaps of the vault other than Parent. Errors: ErrBusy, ErrInUse,
// ErrForeignServer, ErrScratch, ErrDenied, ErrTooOld, what Hold says.
func (m *Machine) Snapshot(ctx context.Context, q SnapshotRequest) (*Snapshot, error) {
	s, err := m.snapshot(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return s, nil
}

func (m *Machine) snapshot(ctx context.Context, q SnapshotRequest) (_ *Snapshot, err error) {
	s := &Snapshot{m: m, request: q, ended: make(chan struct{}), stop: func() {}}
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.run, err = m.begin(ctx, q.Scratch); err != nil {
		return nil, err
	}
	err = s.take(ctx)
	if err == nil {
		return s, nil
	}
	return nil, errors.Join(err, s.Release(context.WithoutCancel(ctx), false))
}

// check looks at the request.
func (s *Snapshot) check() error {
	var ok bool
	switch s.vault, ok = vaultOf(s.request.Point); {
	case !s.m.features.snapshots:
		return fmt.Errorf("%w: this is %s", ErrTooOld, s.m.version)
	case !ok || len(s.request.Point) > maxBitmapName:
		return fmt.Errorf("%q is no name of a bitmap for a point", s.request.Point)
	case len(s.request.Disks) == 0:
		return errors.New("no disk is asked for")
	}
	if parent, ok := vaultOf(s.request.Parent); s.request.Parent != "" && (!ok || parent != s.vault || s.request.Parent == s.request.Point) {
		return fmt.Errorf("%q is no name of a bitmap for the parent of %q", s.request.Parent, s.request.Point)
	}
	return nil
}

// take does everything between the lock and a snapshot that can be read.
func (s *Snapshot) take(ctx context.Context) error {
	sweepFolder(s.request.Scratch.folder())
	var err error
	if s.Cleaned, err = s.m.sweep(ctx, s.sweeping(s.request.Parent)); err != nil {
		return err
	}
	if err := s.request.Scratch.enough(s.run.path); err != nil {
		return err
	}
	if err := s.choose(ctx); err != nil {
		return err
	}
	if err := s.run.makeFolder(s.m.process); err != nil {
		return err
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.tryFUSE(ctx); err != nil {
		return err
	}
	for _, d := range s.Disks {
		if err := s.prepare(ctx, d); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
	}
	hold := s.request.Hold
	if hold == nil {
		hold = func(ctx context.Context, during func(context.Context) error) error { return during(ctx) }
	}
	if err := hold(ctx, s.fix); err != nil {
		return err
	}
	if s.Time.IsZero() {
		return errors.New("the moment passed without a snapshot")
	}
	s.guard(ctx)
	for _, d := range s.Disks {
		if err := s.open(ctx, d); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
	}
	return s.Check(ctx)
}

// choose finds the disks, and how the changes of each are found.
func (s *Snapshot) choose(ctx context.Context) error {
	status, err := s.m.status(ctx)
	if err != nil {
		return err
	}
	s.running = status.Running
	if err := s.m.migrating(ctx, status); err != nil {
		return err
	}
	disks, err := s.m.Disks(ctx)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i, r := range s.request.Disks {
		d, err := find(disks, r.Name)
		if err != nil {
			return err
		}
		if why := s.m.refusal(d); why != "" {
			return fmt.Errorf("disk %s: %s", r.Name, why)
		}
		if isJobFilter(d.Format) {
			return fmt.Errorf("disk %s: %w: a job (backup, mirror or commit) that is not ours; wait for its end (query-jobs)", r.Name, ErrInUse)
		}
		if taken[d.Node] {
			return fmt.Errorf("disk %s: asked for twice, or two drives show it", r.Name)
		}
		taken[d.Node] = true
		x := &SnapshotDisk{Disk: *d, Name: d.Name, Mode: ModeBitmap, Reason: r.Scan, index: i}
		if x.Reason == "" {
			x.Reason = s.removed(d)
		}
		if x.Reason == "" {
			x.Reason = d.doubt(s.request.Parent)
		}
		if x.Reason != "" {
			x.Mode = ModeScan
		}
		s.Disks = append(s.Disks, x)
	}
	return nil
}

// removed says why the parent's bitmap was removed from a disk before the run, if it was.
func (s *Snapshot) removed(d *Disk) string {
	for _, l := range s.Cleaned {
		if l.Kind == "bitmap" && l.Name == s.request.Parent && l.Node == d.Node {
			return l.Why
		}
	}
	return ""
}

// Watch returns when the snapshot cannot be trusted any more or had to end, with the
// reason, and nil when ctx ends or the snapshot is released. It only tells: whether or
// not anybody watches, the snapshot ends itself before its scratch files can stop the guest.
func (s *Snapshot) Watch(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.ended:
		return s.why
	}
}
