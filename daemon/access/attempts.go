package access

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Attempts counts failures by who made them, so that guessing becomes slow. The zero value
// is not usable; see [NewAttempts]. It is safe for concurrent use, and its memory is bounded.
type Attempts struct {
	most int
	per  time.Duration
	keep int
	now  func() time.Time

	mu     sync.Mutex
	failed map[string]window
}

// window is a stretch of time and the failures in it.
type window struct {
	since time.Time
	count int
}

// NewAttempts allows most failures of one source within a stretch of time; when there were
// more, the source waits until it is over. now is nil for the system's clock.
func NewAttempts(most int, per time.Duration, now func() time.Time) *Attempts {
	if now == nil {
		now = time.Now
	}
	return &Attempts{most: most, per: per, keep: 4096, now: now, failed: map[string]window{}}
}

// Wait is how long a source has to wait before it is heard; 0: it is heard.
func (a *Attempts) Wait(source string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, now := a.failed[source], a.now()
	if w.count < a.most || !a.within(w, now) {
		return 0
	}
	return w.since.Add(a.per).Sub(now)
}

// within tells whether a window is not over. One that lies in the future, the clock having
// been set back, is.
func (a *Attempts) within(w window, now time.Time) bool {
	return !now.Before(w.since) && now.Before(w.since.Add(a.per))
}

// Failed counts a failure of a source.
func (a *Attempts) Failed(source string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	w, known := a.failed[source]
	if !a.within(w, now) {
		w = window{since: now}
	}
	if !known && len(a.failed) >= a.keep {
		a.forget(now)
	}
	w.count++
	a.failed[source] = w
}

// forget makes room: what is over goes, and if that is too little, the oldest quarter.
func (a *Attempts) forget(now time.Time) {
	maps.DeleteFunc(a.failed, func(_ string, w window) bool { return !a.within(w, now) })
	if len(a.failed) < a.keep {
		return
	}
	oldest := slices.SortedFunc(maps.Keys(a.failed), func(x, y string) int { return a.failed[x].since.Compare(a.failed[y].since) })
	for _, source := range oldest[:len(oldest)/4] {
		delete(a.failed, source)
	}
}

// Source is what an address is counted under: the address of IPv4, the network of 64 bits
// of IPv6, which one host has whole.
func Source(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}
