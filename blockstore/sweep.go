package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// ErrSweeping reports a sweep while another one runs.
var ErrSweeping = errors.New("a sweep is running")

const (
	// keepUnnamed is how long a pack that no point names is kept after it was
	// sealed, so that a backup that is tried again does not send it again.
	keepUnnamed = 7 * 24 * time.Hour
	// liveShare is the share of a pack's bytes that is still named, below which the pack
	// is rewritten.
	liveShare = 0.5
	// smallPack is the share of a full pack below which packs are joined.
	smallPack = 0.25
)

// SweepOptions of Sweep. The zero value does what a daily run does.
type SweepOptions struct {
	DryRun   bool                    // say what would go, and remove nothing
	Now      bool                    // packs that no point names go at once
	Full     bool                    // rewrite every pack that holds anything that no point names
	Trash    bool                    // drop what is in the trash, whatever its age; locked points stay
	Clock    func() time.Time        // nil: time.Now
	Progress func(done, total int64) // bytes of packs looked at; may be nil
}

// SweepReport is what a sweep did, or would do. Sizes are bytes of packs.
type SweepReport struct {
	Dropped   []*Point // points that left the trash for good
	PutBack   int      // points whose record was lost and is there again
	Packs     int      // looked at
	Removed   int      // packs
	Rewritten int      // of those removed: what is named in them was copied first
	Freed     int64    // removed, less what was copied
	Copied    int64

	// Why the rest stays:
	Live    int64 // records that points name
	Trash   int64 // of Live: that only points in the trash name
	Dead    int64 // in packs whose live share is too large to rewrite them
	Pinned  int64 // packs that a running backup relies on
	Young   int64 // packs that no point names, sealed less than seven days ago
	Damaged int64 // packs that hold something named that cannot be read or is found nowhere else
}

// Sweep removes what no point names. It runs beside backups and reads. If
// anything cannot be read or understood, nothing is removed and the error says
// why. Interrupted at any instant, it loses nothing.
func (o *Owner) Sweep(ctx context.Context, opts SweepOptions) (*SweepReport, error) {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Progress == nil {
		opts.Progress = func(int64, int64) {}
	}
	if !o.sweeping.TryLock() {
		return nil, ErrSweeping
	}
	defer o.sweeping.Unlock()
	s := &sweep{o: o, opts: opts, now: opts.Clock(), report: &SweepReport{}}
	if err := s.run(ctx); err != nil {
		return s.report, fmt.Errorf("sweep vault %s: %w", o.dir.Root(), err)
	}
	return s.report, nil
}

// sweep is one run.
type sweep struct {
	o      *Owner
	opts   SweepOptions
	now    time.Time
	report *SweepReport

	set   *tableSet // what is looked at; packs sealed later are not
	live  *marks    // content that some point names
	packs map[pack.ID]*packUse
}

// run does the steps in the order that makes each safe: what was lost is put
// back and what is due is dropped before marking, pins are held from before
// marking to the end, and nothing is removed before all is marked.
func (s *sweep) run(ctx context.Context) error {
	if err := s.trustClock(ctx); err != nil {
		return err
	}
	if !s.opts.DryRun {
		if err := s.prepare(ctx); err != nil {
			return err
		}
	}
	s.holdPins()
	defer s.releasePins()
	s.o.opts.Event("sweep.held")
	if err := s.mark(ctx); err != nil {
		return err
	}
	s.o.opts.Event("sweep.marked")
	if err := s.weigh(ctx); err != nil {
		return err
	}
	if s.opts.DryRun {
		s.forecast()
		return nil
	}
	return s.remove(ctx)
}

// prepare puts back lost points, drops what is due in the trash, and gives
// every sealed pack a segment.
func (s *sweep) prepare(ctx context.Context) error {
	o := s.o
	if err := o.verifySegments(); err != nil {
		return err
	}
	back, err := o.putBack(ctx)
	s.report.PutBack = back
	if err != nil {
		return err
	}
	trash, err := o.Trash(ctx)
	if err != nil {
		return err
	}
	for _, p := range trash {
		gone, err := o.drop(p, s.opts.Trash, s.now)
		if err != nil {
			return fmt.Errorf("drop point %s@%s: %w", p.MachineName, p.ID, err)
		}
		if gone {
			s.report.Dropped = append(s.report.Dropped, p)
		}
	}
	o.committing.Lock()
	defer o.committing.Unlock()
	return o.writeSegment(nil)
}

// clockLimit is how far past the newest record the clock may be.
const clockLimit = 90 * 24 * time.Hour

// ErrClock reports a clock that cannot be believed.
var ErrClock = errors.New("the clock of this host cannot be believed")

// trustClock refuses a clock that is before the newest record, or far past it:
// everything in the trash might seem due.
func (s *sweep) trustClock(ctx context.Context) error {
	points, err := s.o.allPoints(ctx)
	if err != nil {
		return err
	}
	var newest time.Time
	for _, p := range points {
		if p.Committed.After(newest) {
			newest = p.Committed
		}
	}
	const skew = time.Minute
	switch {
	case newest.IsZero():
		return nil
	case s.now.Before(newest.Add(-skew)):
		return fmt.Errorf("%w: it says %s, and the newest point was committed at %s", ErrClock,
			s.now.UTC().Format(time.RFC3339), newest.Format(time.RFC3339))
	case s.now.After(newest.Add(clockLimit)) && !s.opts.Trash && !s.opts.Now:
		return fmt.Errorf("%w: it says %s, and the newest point was committed at %s, more than %d days before; a run with --now confirms it",
			ErrClock, s.now.UTC().Format(time.RFC3339), newest.Format(time.RFC3339), int(clockLimit.Hours()/24))
	}
	return nil
}

// holdPins makes every pin that exists now, or is made from now on, hold until
// the sweep ends, whatever becomes of its backup.
func (s *sweep) holdPins() {
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	st.swept = pins{}
	for _, p := range st.pins {
		maps.Copy(st.swept, p)
	}
}

func (s *sweep) releasePins() {
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	st.swept = nil
}
