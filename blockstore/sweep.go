package blockstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	// joinShare is the part of a vault that one sweep copies at most, only to join small
	// packs: the rest is left to the next, so that the first sweep after a long time
	// does not write the vault anew.
	joinShare = 1.0 / 32
)

// SweepOptions of Sweep. The zero value does what a daily run does.
type SweepOptions struct {
	DryRun   bool                    // say what would go, and remove nothing
	Now      bool                    // packs that no point names go at once
	Full     bool                    // rewrite every pack that holds anything that no point names, or whose header or footer is damaged
	Trash    bool                    // drop what is in the trash, whatever its age; locked points stay
	Points   []PointID               // drop these of the trash, whatever their age; locked points stay
	Clock    func() time.Time        // nil: the owner's
	Progress func(done, total int64) // bytes of packs looked at; may be nil

	// GiveWay is called between two steps, by several goroutines at once, and may wait for others that come first, no
	// longer than ctx: no lock is held that a backup, a read or a change of the vault needs. It is not called while
	// room is short, since what waits may need that. It may be nil.
	GiveWay func(ctx context.Context)

	mend map[pack.ID]bool // rewrite these, and remove nothing else; nil: all
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
	Live       int64     // records that points name
	Trash      int64     // of Live: that only points in the trash name
	TrashUntil time.Time // when the next point leaves the trash by itself; zero: there is none
	Dead       int64     // records that nothing names, in packs whose live share is too large to rewrite them
	Pinned     int64     // packs that a running backup relies on
	Young      int64     // packs that no point names, sealed less than seven days ago
	YoungUntil time.Time // when all of those can go
	NoRoom     int64     // records that nothing names, in packs that there is no room to rewrite
	Damaged    int64     // packs that hold something named that cannot be read or is found nowhere else
}

// Sweep removes what no point names. It runs beside backups and reads. If
// anything cannot be read or understood, nothing is removed and the error says
// why. Interrupted at any instant, it loses nothing. ErrClock: nothing was
// removed. In a file system that is full it uses what the vault has set aside.
func (o *Owner) Sweep(ctx context.Context, opts SweepOptions) (*SweepReport, error) {
	if opts.Clock == nil {
		opts.Clock = o.now
	}
	if opts.Progress == nil {
		opts.Progress = func(int64, int64) {}
	}
	if !o.sweeping.TryLock() {
		return nil, ErrSweeping
	}
	s := &sweep{o: o, opts: opts, now: opts.Clock(), report: &SweepReport{}}
	err := unlessHung(ctx, o.dir, func(ctx context.Context) error {
		defer o.sweeping.Unlock()
		defer limitMemory(sweepMemory)()
		return s.run(ctx)
	})
	if hang := o.dir.HangError(); hang != nil {
		return nil, fmt.Errorf("sweep vault %s: %w", o.dir.Root(), hang) // the report may still be written
	}
	if err != nil {
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

	set   *tableSet        // what is looked at; packs sealed later are not
	live  *marks           // content that some point names
	due   map[PointID]bool // points that a dry run leaves out, since a run would drop them
	packs map[pack.ID]*packUse
	// untold are packs that there was no room to tell of before they went.
	untold []*packUse

	// Buffers of copyLive; moved is a record without its seal, since it gets that of
	// its new place.
	rec, plain, moved []byte
}

// run does the steps in the order that makes each safe: what was lost is put
// back and what is due is dropped before marking, pins are held from before
// marking to the end, and nothing is removed before all is marked.
func (s *sweep) run(ctx context.Context) (err error) {
	if err := s.o.trust(ctx, s.now); err != nil {
		return err
	}
	if s.opts.DryRun {
		return s.forecast(ctx)
	}
	if err := s.o.mayRemove(); err != nil {
		return err
	}
	if err := s.o.giveUpReserve(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.o.restoreReserve()) }()
	full := s.prepare(ctx)
	if full != nil && !errors.Is(full, ErrFull) {
		return full
	}
	if err := s.once(ctx); err != nil {
		return errors.Join(err, full)
	}
	if full == nil {
		return nil
	}
	if s.report.Freed == 0 {
		return full
	}
	// There is room now for what there was none for.
	if err := s.prepare(ctx); err != nil {
		return err
	}
	return s.once(ctx)
}

// once marks and removes.
func (s *sweep) once(ctx context.Context) error {
	if err := s.look(ctx); err != nil {
		return err
	}
	defer s.releasePins()
	return s.remove(ctx)
}

// look holds all pins, marks and weighs. Without an error, releasePins is
// called when the sweep ends.
func (s *sweep) look(ctx context.Context) (err error) {
	r := s.report // what is counted below is of the last look
	*r = SweepReport{Dropped: r.Dropped, PutBack: r.PutBack, Removed: r.Removed, Rewritten: r.Rewritten, Freed: r.Freed, Copied: r.Copied}
	s.holdPins()
	defer func() {
		if err != nil {
			s.releasePins()
		}
	}()
	s.o.opts.Event("sweep.held")
	if err := s.mark(ctx); err != nil {
		return err
	}
	s.o.opts.Event("sweep.marked")
	s.weigh()
	return nil
}

// prepare puts back lost points, drops what is due in the trash, and gives
// every sealed pack a segment, and every drop two. After ErrFull, what was lost is back.
func (s *sweep) prepare(ctx context.Context) error {
	o := s.o
	if err := o.verifySegments(); err != nil {
		return err
	}
	back, err := o.putBack(ctx)
	s.report.PutBack += back
	if err != nil {
		return fmt.Errorf("nothing was removed, since a lost point cannot be put back: %v", err) // not ErrFull
	}
	if err := o.finishDrops(); err != nil {
		return err
	}
	if err := o.noneLost(); err != nil {
		return err
	}
	trash, err := o.Trash(ctx)
	if err != nil {
		return err
	}
	if s.opts.mend != nil {
		trash = nil
	}
	gone, err := o.dropAll(trash, s.early, s.now)
	s.report.Dropped = append(s.report.Dropped, gone...)
	if err != nil {
		return err
	}
	o.committing.Lock()
	err = o.tellDropsTwice()
	o.committing.Unlock()
	if err != nil {
		return err
	}
	if s.opts.mend == nil {
		if err := o.sweepCatalogues(ctx); err != nil {
			o.warn(fmt.Sprintf("catalogues that no point needs stay: %v", err))
		}
	}
	return o.noteClock(s.now)
}

// early tells whether a point is dropped before its time in the trash is over.
func (s *sweep) early(p *Point) bool {
	return s.opts.Trash || slices.Contains(s.opts.Points, p.ID)
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
