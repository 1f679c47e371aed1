package qemu

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrGone is wrapped where QEMU ended during a run.
var ErrGone = errors.New("QEMU has ended")

// guard looks at the machine again and again until Release, or until the snapshot is
// not to be trusted. A monitor that does not answer for a while (libvirt may be
// restarting) is no reason to end it.
func (s *Snapshot) guard(ctx context.Context) {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.guarded.Go(func() {
		var blindSince time.Time
		for pause(ctx, s.m.opts.Interval) == nil {
			err := s.Check(ctx)
			var blind *blindError
			switch {
			case err == nil:
				blindSince = time.Time{}
			case !errors.As(err, &blind):
				s.letGoAtLast(ctx)
				return
			case blindSince.IsZero():
				blindSince = time.Now()
			case time.Since(blindSince) > patience:
				s.end(ctx, err)
				s.letGoAtLast(ctx)
				return
			}
		}
	})
}

// patience with a monitor that does not answer.
const patience = time.Minute

// blindError says that nobody can tell how the machine is.
type blindError struct{ err error }

func (e *blindError) Error() string { return "the machine cannot be looked at: " + e.err.Error() }
func (e *blindError) Unwrap() error { return e.err }

// Check looks once whether the snapshot is to be trusted. Without error, all that was
// read before is what the disks held at Time: call it after the last read and before the
// commit. An error of a monitor that does not answer may pass; all others stay.
func (s *Snapshot) Check(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.why
	default:
	}
	err := s.look(ctx)
	var blind *blindError
	if err == nil || ctx.Err() != nil || errors.As(err, &blind) && !gone(err) {
		return err
	}
	s.end(ctx, err)
	return s.why
}

// look finds out what is wrong, if anything is.
func (s *Snapshot) look(ctx context.Context) error {
	if err := s.request.Scratch.enough(s.run.path); err != nil {
		return err // whether or not QEMU answers
	}
	status, err := s.m.status(ctx)
	if err != nil {
		return &blindError{err}
	}
	jobs, err := s.m.jobs(ctx)
	if err != nil {
		return &blindError{err}
	}
	if status.Status == "io-error" && s.running {
		return fmt.Errorf("%w: the guest has been paused for an I/O error", ErrScratch)
	}
	for _, d := range s.Disks {
		if j := jobs[jobName(d.index)]; j == nil || j.Status == "aborting" || j.Status == "concluded" || j.Status == "null" {
			return fmt.Errorf("disk %s: the job that keeps the moment has ended%s", d.Name, j.why())
		}
	}
	return nil
}

// end fails the snapshot: nothing of it is to be trusted, and the guest is let go.
func (s *Snapshot) end(ctx context.Context, why error) {
	s.once.Do(func() {
		s.mustLetGo.Store(true)
		if gone(why) {
			why = fmt.Errorf("%w: %w", ErrGone, why)
			s.mustLetGo.Store(false)
		} else if resumed, err := s.letGo(ctx); err != nil {
			why = errors.Join(why, err)
		} else if resumed {
			why = fmt.Errorf("%w; it was resumed, and its write was done again", why)
		}
		s.why = why
		s.breakReads(fmt.Errorf("snapshot is not to be trusted: %w", why))
		close(s.ended)
	})
	<-s.ended
}

// breakReads makes every read from now on return err.
func (s *Snapshot) breakReads(err error) { s.broken.CompareAndSwap(nil, &err) }

// letGo ends our jobs, so that no write of the guest waits for us any more, and
// resumes the guest if it was paused for an error that they may have caused.
func (s *Snapshot) letGo(ctx context.Context) (resumed bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	if err := s.m.endJobs(ctx, func(string) {}); err != nil {
		return false, err
	}
	resumed, err = s.m.resume(ctx, s.running)
	if err == nil {
		s.mustLetGo.Store(false)
	}
	return resumed, err
}

// letGoAtLast tries again what failed when the snapshot ended.
func (s *Snapshot) letGoAtLast(ctx context.Context) {
	for s.mustLetGo.Load() && pause(ctx, s.m.opts.Interval) == nil {
		if _, err := s.letGo(ctx); gone(err) {
			return
		}
	}
}

// resume lets a guest run that stopped for an I/O error. A write that still fails
// stops it again.
func (m *Machine) resume(ctx context.Context, wasRunning bool) (bool, error) {
	status, err := m.status(ctx)
	if err != nil || status.Status != "io-error" || !wasRunning {
		return false, err
	}
	if err := m.do(ctx, "cont", nil, nil); err != nil {
		return false, fmt.Errorf("the guest was paused for an I/O error and cannot be resumed: %w", err)
	}
	return true, nil
}

const shortWait = 5 * time.Millisecond

// pause waits, or returns what ended ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
