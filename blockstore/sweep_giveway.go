package blockstore

import (
	"context"
	"time"
)

// While backups run, a sweep rests twice as long as it works, so that on a host of two
// processors it slows them by less than a third. A machine is held still for them at
// most for a moment, but its snapshot grows until they end: they come first.
const (
	restFactor  = 2
	longestRest = time.Second
)

// giveWay rests after a step of work that began at a time, if a backup runs.
func (s *sweep) giveWay(ctx context.Context, began time.Time) {
	s.o.mu.Lock()
	backups := len(s.o.running)
	s.o.mu.Unlock()
	if backups == 0 {
		return
	}
	select {
	case <-time.After(min(restFactor*time.Since(began), longestRest)):
	case <-ctx.Done():
	}
}
