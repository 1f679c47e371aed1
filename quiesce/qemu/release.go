package qemu

import (
	"context"
	"errors"
	"fmt"
)

// Release ends reading and removes all that the snapshot made, whatever happens. committed
// says whether the point is in the vault: then its bitmap stays, else the parent's, which
// gets back what changed meanwhile. That QEMU is gone is no error. ctx should not be
// the run's, which may have ended. It takes two minutes at most.
func (s *Snapshot) Release(ctx context.Context, committed bool) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	s.stop()
	s.guarded.Wait()
	var errs []error
	s.breakReads(errors.New("snapshot was released"))
	for _, d := range s.Disks {
		if d.Export != nil {
			d.Close() // a connection that QEMU broke is of no interest any more
		}
	}
	keep := s.request.Parent
	if committed {
		keep = s.request.Point
	}
	sw := s.sweeping(keep)
	_, err := s.m.sweep(ctx, sw)
	errs = append(errs, err)
	if s.running {
		if _, err := s.m.resume(ctx, true); err != nil && !gone(err) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.run.end())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release snapshot: %w", err)
	}
	return nil
}

func (s *Snapshot) sweeping(keep string) *sweeping {
	return &sweeping{vault: s.vault, keep: keep, folder: s.run.path}
}
