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
// not to be trusted.
func (s *Snapshot) guard(ctx context.Context) {
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.guarded.Go(func() {
		for pause(ctx, s.m.opts.Interval) == nil {
			if s.Check(ctx) != nil {
				return
			}
		}
	})
}

// Check looks once whether the snapshot is to be trusted. Without error, all that was
// read before is what the disks held at Time: call it after the last read and before the
// commit.
func (s *Snapshot) Check(ctx context.Context) error {
	select {
	case <-s.ended:
		return s.why
	default:
	}
	err := s.look(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	if gone(err) {
		err = fmt.Errorf("%w: %w", ErrGone, err)
	} else {
		err = s.letGo(ctx, err)
	}
	s.fail(err)
	return s.why
}

// look finds out what is wrong, if anything is.
func (s *Snapshot) look(ctx context.Context) error {
	status, err := s.m.status(ctx)
	if err != nil {
		return err
	}
	jobs, err := s.m.jobs(ctx)
	if err != nil {
		return err
	}
	for _, d := range s.Disks {
		if j := jobs[jobName(d.index)]; j == nil || j.Status == "aborting" || j.Status == "concluded" || j.Status == "null" {
			return fmt.Errorf("disk %s: the job that keeps the moment has ended%s", d.Name, j.why())
		}
	}
	if status.Status == "io-error" && s.running {
		return fmt.Errorf("%w: the guest has been paused for an I/O error", ErrScratch)
	}
	return s.request.Scratch.enough(s.run.path)
}

// letGo ends our jobs, so that no write of the guest waits for us any more, and
// resumes the guest if it was paused for an error that they may have caused.
func (s *Snapshot) letGo(ctx context.Context, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := s.m.endJobs(ctx, func(string) {}); err != nil {
		return errors.Join(why, err)
	}
	resumed, err := s.m.resume(ctx, s.running)
	if err != nil {
		return errors.Join(why, err)
	}
	if resumed {
		why = fmt.Errorf("%w; it was resumed, and its write was done again", why)
	}
	return why
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

func (s *Snapshot) fail(err error) {
	s.once.Do(func() {
		s.why = err
		for _, d := range s.Disks {
			if d.Export != nil {
				d.fail(fmt.Errorf("snapshot is not to be trusted: %w", err))
			}
		}
		close(s.ended)
	})
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
