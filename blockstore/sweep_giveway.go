package blockstore

import (
	"context"
	"runtime"
	"time"
)

// While backups run, a sweep rests twice as long as it works, so that on a host of two
// processors it slows them by less than a third. They come first: the snapshot that a
// backup reads costs its machine something until it ends, a sweep can take its time.
const (
	restFactor  = 2
	longestRest = time.Second
)

// giveWay lets others go before, after a step of work that began at a time, and rests if a backup
// runs still.
func (s *sweep) giveWay(ctx context.Context, began time.Time) {
	took := time.Since(began)
	if s.opts.GiveWay != nil && !s.short() {
		s.opts.GiveWay(ctx)
	}
	if !s.backupsRun() {
		return
	}
	select {
	case <-time.After(min(restFactor*took, longestRest)):
	case <-ctx.Done():
	}
}

// short tells whether so little is free above the floor that backups may soon wait for what the sweep frees.
func (s *sweep) short() bool {
	free, total, err := s.o.dir.Space()
	floor := s.o.floorOf(total)
	return err != nil || free < floor+max(floor/4, reserveSize(total))
}

func (s *sweep) backupsRun() bool {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return len(s.o.running) > 0
}

// readers is how many pages are read at once.
func (s *sweep) readers() int {
	if s.backupsRun() {
		return 1
	}
	return runtime.GOMAXPROCS(0)
}
