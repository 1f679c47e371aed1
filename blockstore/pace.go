package blockstore

import (
	"context"
	"sync"
	"time"
)

// Pace holds readers, together, to so many bytes a second.
type Pace struct {
	rate int64 // 0: no limit

	mu   sync.Mutex
	next time.Time // when the next bytes are due
}

// NewPace returns a pace of so many bytes a second; nil, with which nobody waits, for 0.
func NewPace(rate int64) *Pace {
	if rate <= 0 {
		return nil
	}
	return &Pace{rate: rate}
}

// Take waits until n bytes may be read.
func (p *Pace) Take(ctx context.Context, n int64) error {
	if p == nil || p.rate <= 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
