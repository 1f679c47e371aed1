package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"
)

// ErrClock reports a clock that cannot be believed: it is earlier than the
// newest record of the vault, or far past what its records make likely. Nothing is
// deleted, locked or dropped by it until [Owner.TrustClock].
var ErrClock = errors.New("the clock of this host cannot be believed")

const (
	// clockLimit is how far apart records are, and the clock from the last of
	// them, for the clock to be believed.
	clockLimit = 90 * 24 * time.Hour
	// clockSkew is how far back a clock may be set by who keeps it right.
	clockSkew = time.Minute
	// clockNoted is how old a note is before the next sweep replaces it.
	clockNoted = 24 * time.Hour
)

// clockNote says that the clock was found right at Time. Records dated after
// that and up to a day after Wrong come from times when it was not.
type clockNote struct {
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
	Wrong time.Time `json:"wrong,omitzero"`
}

// doubts tells whether the date of a record says nothing.
func (n clockNote) doubts(d time.Time) bool {
	return !n.Wrong.IsZero() && d.After(n.Time) && !d.After(n.Wrong.Add(24*time.Hour))
}

// clock is what an owner believes of the time. Safe for concurrent use.
type clock struct {
	mu               sync.Mutex
	earliest, latest time.Time // between which now is believed; zero: not known yet
	unlimited        bool      // there is no record that tells
}

// now is the time that the owner's clock shows.
func (o *Owner) now() time.Time {
	if o.opts.Clock != nil {
		return o.opts.Clock().UTC()
	}
	return time.Now().UTC()
}

// trust returns ErrClock for a time that cannot be now.
func (o *Owner) trust(ctx context.Context, now time.Time) error {
	now = now.Round(0) // what the clock shows, not the time that passed: one that is set back is to be seen
	c := &o.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unlimited || c.believes(now) != nil { // nothing is known, or records were added since
		if err := c.load(ctx, o.Vault, o.dir.List); err != nil {
			return fmt.Errorf("when the newest record was made: %w", err)
		}
	}
	if err := c.believes(now); err != nil {
		return err
	}
	if at := now.Add(-clockSkew); at.After(c.earliest) {
		c.earliest = at
	}
	return nil
}

func (c *clock) believes(now time.Time) error {
	show := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
	switch {
	case now.Before(c.earliest):
		return fmt.Errorf("%w: it says %s, and the vault's newest record is of %s", ErrClock, show(now), show(c.earliest.Add(clockSkew)))
	case c.unlimited:
		return nil
	case now.After(c.latest):
		return fmt.Errorf("%w: it says %s, more than %d days after %s, the last time that the vault is sure of", ErrClock,
			show(now), int(clockLimit.Hours()/24), show(c.latest.Add(-clockLimit)))
	}
	return nil
}

// load finds what the vault's records say of the time. From the last note, or
// the oldest record, the time is believed as far as record follows record.
func (c *clock) load(ctx context.Context, v *Vault, list lister) error {
	dates, err := v.dates(ctx, list)
	if err != nil {
		return err
	}
	note, noted, err := v.clockNote()
	if err != nil {
		return err
	}
	dates = slices.DeleteFunc(dates, note.doubts)
	if noted {
		dates = append(dates, note.Time)
	}
	if c.unlimited = len(dates) == 0; c.unlimited {
		c.earliest = v.head.Created.Add(-clockSkew) // a sweep before that would note its time as right
		return nil
	}
	slices.SortFunc(dates, time.Time.Compare)
	sure := dates[0]
	if noted {
		sure = note.Time
	}
	for _, d := range dates {
		if d.After(sure) && d.Sub(sure) <= clockLimit {
			sure = d
		}
	}
	c.earliest, c.latest = dates[len(dates)-1].Add(-clockSkew), sure.Add(clockLimit)
	return nil
}

// dates returns when points were committed and attributes added.
func (v *Vault) dates(ctx context.Context, list lister) (dates []time.Time, err error) {
	points, err := v.allPoints(ctx, list)
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		dates = append(dates, p.Committed)
	}
	err = v.eachAttributed(list, func(m MachineID, p PointID) error {
		attrs, err := v.attributes(m, p)
		for _, a := range attrs {
			dates = append(dates, a.Time)
		}
		return err
	})
	return dates, err
}

// clockNote returns the newest note. One that cannot be read is passed over:
// the records say enough, or a person does.
func (v *Vault) clockNote() (n clockNote, ok bool, err error) {
	names, err := v.dir.List(clockDir)
	if err != nil {
		return n, false, err
	}
	for _, name := range slices.Backward(names) {
		err := v.readRecord(clockKind, path.Join(clockDir, name), &n)
		if err == nil {
			return n, true, nil
		}
		if errors.Is(err, ErrVersion) {
			return clockNote{}, false, err
		}
		v.warn(err.Error())
		n = clockNote{}
	}
	return n, false, nil
}

// Believes returns ErrClock for a time at which nothing would be deleted from the vault, since
// its records speak against it.
func (v *Vault) Believes(ctx context.Context, now time.Time) error {
	return v.believes(ctx, now, v.dir.List)
}

func (v *Vault) believes(ctx context.Context, now time.Time, list lister) error {
	var c clock
	if err := c.load(ctx, v, list); err != nil {
		return fmt.Errorf("when the newest record was made: %w", err)
	}
	return c.believes(now)
}

// TrustedNow returns the time, or ErrClock where nothing may be deleted by it.
func (o *Owner) TrustedNow(ctx context.Context) (time.Time, error) {
	now := o.now()
	return now, o.trust(ctx, now)
}

// noteClock keeps that the clock was found right, if that was not noted lately.
func (o *Owner) noteClock(now time.Time) error {
	last, ok, err := o.clockNote()
	if err != nil || ok && now.Sub(last.Time) < clockNoted {
		return err
	}
	note := clockNote{Time: now.UTC()}
	if last.Wrong.After(now) {
		note.Wrong = last.Wrong
	}
	return o.writeClockNote(note)
}

// TrustClock says that a person looked at this host's clock and found it right,
// whatever the dates of the vault's records say.
func (o *Owner) TrustClock(ctx context.Context) error {
	dates, err := o.dates(ctx, o.dir.List)
	if err != nil {
		return err
	}
	note := clockNote{Time: o.now()}
	for _, d := range dates {
		if d.After(note.Time) && d.After(note.Wrong) {
			note.Wrong = d
		}
	}
	if err := o.writeClockNote(note); err != nil {
		return err
	}
	o.clock.mu.Lock()
	defer o.clock.mu.Unlock()
	return o.clock.load(ctx, o.Vault, o.dir.List)
}

// writeClockNote replaces the notes by one.
func (o *Owner) writeClockNote(n clockNote) error {
	o.attributing.Lock()
	defer o.attributing.Unlock()
	names, err := o.dir.List(clockDir)
	if err != nil {
		return err
	}
	n.Seq = 1
	for _, name := range names {
		if seq, _, ok := parseNumbered(name); ok {
			n.Seq = max(n.Seq, seq+1)
		}
	}
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	if err := o.writeRecord(clockKind, clockPath(n.Seq), n); err != nil {
		return err
	}
	for _, name := range names {
		if err := o.dir.Remove(path.Join(clockDir, name)); err != nil {
			return err
		}
	}
	return nil
}
