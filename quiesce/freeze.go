package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// settle is how long after an abandoned freeze the guest is looked at once more.
const settle = time.Second

// freeze prepares, freezes, calls during and thaws. It returns whether during
// was called; where it was not and there is no error, s.failed says why.
func (s *session) freeze(ctx context.Context) (called bool, err error) {
	if s.failed = s.unready(ctx); s.failed != "" {
		return false, nil
	}
	note, err := s.o.Journal.begin(Entry{Version: entryVersion, Machine: s.o.Machine, Reach: s.o.Reach, Time: time.Now().UTC(), PID: os.Getpid()})
	if err != nil {
		s.failed = reason(err)
		return false, nil
	}
	guard, err := s.guard(note)
	if err != nil {
		s.failed = reason(err)
		return false, note.done()
	}
	defer s.end(note, guard)
	return s.window(ctx, guard)
}

// end takes back what freeze prepared, or leaves it to the guard where the guest
// may be frozen.
func (s *session) end(note *record, guard *watcher) {
	if !s.clean {
		s.letGo(errors.New("the guest is left to its guard"))
		note.leave()
		guard.leave()
		return
	}
	if err := errors.Join(guard.tell(order{Do: "thawed"}), guard.end(), note.done()); err != nil {
		s.report.Warnings = append(s.report.Warnings, "after the thaw: "+reason(err))
	}
}

// unready says why the guest is not to be frozen; "" where it can be. A freeze
// of ours that was left behind is ended first; that of somebody else is not ours to end.
func (s *session) unready(ctx context.Context) string {
	if s.o.Journal == nil {
		return "there is no journal to note the freeze in"
	}
	at, err := s.o.Reach.settled()
	if err != nil {
		return reason(err)
	}
	s.o.Reach = at
	if err := s.thawOurs(ctx); err != nil {
		return reason(err)
	}
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	frozen, err := s.guest.Frozen(ctx)
	switch {
	case errors.Is(err, errors.ErrUnsupported), err == nil && !frozen:
		return ""
	case err != nil:
		return reason(err)
	}
	return "the guest's file systems are frozen already, by somebody else; `holdfast thaw` thaws them if nobody will"
}

// thawOurs thaws the guest where the journal says that we froze it. A note that is
// held is the business of a guard, which needs a moment, or of another backup.
func (s *session) thawOurs(ctx context.Context) error {
	const patience, pause = 3 * time.Second, 20 * time.Millisecond
	paths, err := entries(s.o.Journal.dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		note, e, err := take(path)
		for end := time.Now().Add(patience); errors.Is(err, errHeld) && e.Reach == s.o.Reach && time.Now().Before(end) && ctx.Err() == nil; {
			time.Sleep(pause)
			note, e, err = take(path)
		}
		switch {
		case e.Reach != s.o.Reach:
			if err == nil {
				note.leave()
			}
		case errors.Is(err, errHeld):
			return fmt.Errorf("the guest is frozen by another backup (process %d), or a guard is thawing it", e.PID)
		case err == nil:
			if err := s.thawNoted(ctx, note); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) thawNoted(ctx context.Context, note *record) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.ThawTimeout)
	defer cancel()
	if _, err := thaw(ctx, s.guest, s.thawCall()); err != nil {
		note.leave()
		return fmt.Errorf("the guest was left frozen by an earlier backup: %w", err)
	}
	s.report.Warnings = append(s.report.Warnings, "the guest was left frozen by an earlier backup, and is thawed now")
	return note.done()
}

func (s *session) thawCall() time.Duration {
	if s.report.Windows {
		return thawCallVSS
	}
	return thawCall
}

// guard starts the guard, if there is to be one, and tells it.
func (s *session) guard(note *record) (*watcher, error) {
	if len(s.o.Guard.Command) == 0 {
		return nil, nil
	}
	w, err := s.o.Guard.start()
	if err != nil {
		return nil, err
	}
	o := s.o.Guard.order(s.o.FreezeTimeout + s.o.HoldTimeout)
	o.Reach, o.Journal = s.o.Reach, note.path
	if err := w.tell(o); err != nil {
		return nil, errors.Join(err, w.end())
	}
	return w, nil
}

// window is the time in which the guest may be frozen. s.clean tells that nothing is
// at its end.
func (s *session) window(ctx context.Context, guard *watcher) (called bool, err error) {
	begin := time.Now()
	frozen, abandoned := 0, false
	defer func() { // also when during panics
		t := s.thaw(ctx, guard, begin, frozen, abandoned)
		if t != nil && abandoned && s.o.FallBack {
			s.report.Warnings = append(s.report.Warnings, reason(t))
			return
		}
		err = errors.Join(err, t)
	}()
	frozen, abandoned = s.attempt(ctx)
	s.report.Freeze = time.Since(begin)
	if s.failed != "" || ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.o.HoldTimeout, fmt.Errorf("the guest may not be frozen for longer than %s", s.o.HoldTimeout))
	defer cancel()
	start := time.Now()
	err = s.during(limited)
	s.report.During = time.Since(start)
	s.frozen = true
	return true, err
}

// attempt freezes and returns how many file systems; abandoned tells that it may
// happen later.
func (s *session) attempt(ctx context.Context) (frozen int, abandoned bool) {
	limited, cancel := context.WithTimeoutCause(ctx, s.o.FreezeTimeout, fmt.Errorf("no answer within %s", s.o.FreezeTimeout))
	defer cancel()
	n, err := s.guest.Freeze(limited, s.o.Mounts)
	var refused *qga.Error
	switch {
	case errors.As(err, &refused):
		s.failed = reason(fmt.Errorf("freeze: %w", err))
	case err != nil:
		s.failed, abandoned = reason(fmt.Errorf("freeze: %w", err)), true
	case n <= 0:
		s.failed = "the guest agent found no file system that it can freeze"
	}
	return max(n, 0), abandoned
}

// thaw ends the window. It lives on when ctx does not.
func (s *session) thaw(ctx context.Context, guard *watcher, begin time.Time, frozen int, abandoned bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.o.ThawTimeout)
	defer cancel()
	if err := guard.tell(order{Do: "thawing"}); err != nil {
		s.report.Warnings = append(s.report.Warnings, reason(err))
	}
	t, err := thaw(ctx, s.guest, s.thawCall())
	if err == nil && abandoned {
		time.Sleep(settle)
		_, err = thaw(ctx, s.guest, s.thawCall())
	}
	if errors.Is(err, qga.ErrGone) {
		s.failed, s.clean = "the machine ended while it was frozen", true
		return nil
	}
	if err != nil {
		return &StillFrozenError{s.o.Machine, s.o.Reach, err}
	}
	s.clean = true
	s.report.Window, s.report.Frozen = t.at.Sub(begin), frozen
	switch {
	case s.failed != "":
	case t.first != nil:
		s.failed = reason(fmt.Errorf("whether the guest was frozen for as long as the snapshot took is not known: thaw: %w", t.first))
	case t.count < frozen:
		s.failed = fmt.Sprintf("somebody else thawed the guest meanwhile: %d file systems were frozen, and %d were still when the snapshot was taken", frozen, t.count)
	}
	return nil
}
