package blockstore

import (
	"context"
	"sync"
	"time"
)

// pace holds readers, together, to so many bytes a second.
type pace struct {
	rate int64 // 0: no limit

	mu   sync.Mutex
	next time.Time // when the next bytes are due
}

// take waits until n bytes may be read.
func (p *pace) take(ctx context.Context, n int64) error {
	if p.rate <= 0 {
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
