package index

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// closeLimit is how long Badger may take to end once it could not write its tables.
const closeLimit = 10 * time.Second

// Close writes the index back and closes it. What cannot be written is left out, and an error, whatever keeps it
// from being written: the folder is gone, its disk is full or takes no writes any more. The packs that it was for
// are entered again by whoever opens the index next.
func (x *DB) Close() error {
	if x.IsNone() {
		return nil
	}
	x.said.close()
	done := make(chan error, 1)
	go func() { done <- x.db.Close() }() // is waited for, unless it does not end within the limit below
	var err error
	select {
	case err = <-done:
	case <-x.said.failing:
		select {
		case err = <-done:
		case <-time.After(closeLimit):
		}
	}
	if failed := x.said.failure(); failed != nil {
		err = failed
	}
	if err != nil {
		return fmt.Errorf("close index: %w", err)
	}
	return nil
}

// flushFails begins what Badger says when it cannot write a table. It then tries again each second, without end,
// and a Close waits for that.
const flushFails = "error flushing memtable to disk"

// said passes on what Badger says, and ends its attempts to write tables once it is being closed. It is safe for
// concurrent use.
type said struct {
	Logger // nil: nobody hears it

	mu      sync.Mutex
	closing bool
	failed  error         // why a table could not be written when it was closed
	failing chan struct{} // closed then
}

func newSaid(to Logger) *said { return &said{Logger: to, failing: make(chan struct{})} }

func (s *said) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

func (s *said) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Errorf is called by the goroutine of Badger that writes tables, which holds no lock then, and whose end Badger waits
// for: it ends here when the index is being closed.
func (s *said) Errorf(f string, a ...any) {
	if strings.HasPrefix(f, flushFails) && s.giveUp(f, a) {
		runtime.Goexit()
	}
	if s.Logger != nil {
		s.Logger.Errorf(f, a...)
	}
}

func (s *said) giveUp(f string, a []any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && s.failed == nil {
		s.failed = fmt.Errorf(strings.TrimSuffix(f, ", retrying"), a...)
		close(s.failing)
	}
	return s.closing
}

func (s *said) Warningf(f string, a ...any) {
	if s.Logger != nil {
		s.Logger.Warningf(f, a...)
	}
}

// What Badger says about its ordinary life is passed over.
func (*said) Infof(string, ...any)  {}
func (*said) Debugf(string, ...any) {}
