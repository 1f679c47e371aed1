package nbd

import (
	"fmt"
	"time"
)

// stall watches over the server's progress. What counts is requests finished, not
// bytes. The client's mu guards it.
type stall struct {
	limit time.Duration
	timer *time.Timer // nil until the first request
	since time.Time   // of the last progress
	err   error       // set once the server stalled
}

// progress notes that a request was finished, or that there is one again. The
// caller holds mu.
func (c *Client) progress() {
	s := &c.stall
	s.since = time.Now()
	switch {
	case c.err != nil:
	case len(c.pending) == 0:
		s.stop()
	case s.timer == nil:
		s.timer = time.AfterFunc(s.limit, c.stalled)
	default:
		s.timer.Reset(s.limit)
	}
}

func (s *stall) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// stalled ends the connection unless there was progress at the last moment. The
// receiver notices, and ends every call.
func (c *Client) stalled() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 || c.err != nil || time.Since(c.stall.since) < c.stall.limit {
		return
	}
	c.stall.err = fmt.Errorf("%w: none of %d requests was finished in %v", ErrStalled, len(c.pending), c.stall.limit)
	c.conn.Close()
}
