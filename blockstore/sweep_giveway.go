package blockstore

import (
	"context"
	"time"
)

// While backups run, a sweep rests twice as long as it works, so that on a host of two
// processors it slows them by less than a third. They come first: the snapshot that a
// backup reads costs its machine something until it ends, a sweep can take its time.
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
