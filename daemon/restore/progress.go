package restore

import "sync"

// progress counts work done for Options.Progress.
type progress struct {
	fn    func(done, total int64) // may be nil
	total int64

	mu   sync.Mutex
	done int64 // guarded by mu, which also keeps fn from being called twice at once
}

func (p *progress) add(n int64) {
	if p.fn == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	p.fn(p.done, p.total)
}
