package backend

import (
	"fmt"
	"sync"
	"time"
)

// HangError reports a file system that does not answer: a call into it has not
// returned. Nothing more is done in a folder where that happened, even if it
// answers later.
type HangError struct {
	Path string        // of the vault's folder
	Call string        // what has not returned
	For  time.Duration // since when
}

func (e *HangError) Error() string {
	return fmt.Sprintf("vault %s does not answer for %v (%s)", e.Path, e.For, e.Call)
}

// watch notices calls that do not return.
type watch struct {
	limit time.Duration // 0: does not look
	told  func(error)   // may be nil
	hung  chan struct{} // closed once err is set
	once  sync.Once
	err   error // not read before hung is closed
}

// ticks is in how many steps a limit is waited for: a process that was stopped
// meanwhile misses one of them, not all.
const ticks = 4

// Watch makes calls that take longer than a limit end all use of the folder.
// Told, which may be nil, is called once, in a goroutine of its own. It is
// called before the folder is used.
func (d *Dir) Watch(limit time.Duration, told func(error)) {
	d.watch.limit, d.watch.told = limit, told
}

// Hung is closed when a call did not return in time.
func (d *Dir) Hung() <-chan struct{} { return d.watch.hung }

// HangError returns the *HangError of a folder that hung, nil for others.
func (d *Dir) HangError() error {
	select {
	case <-d.watch.hung:
		return d.watch.err
	default:
		return nil
	}
}

// Call notes that a call into the file system begins; what it returns is called
// when that has returned.
func (d *Dir) Call(what, name string) (done func()) { return d.call(what, name, d.watch.limit) }

func (d *Dir) call(what, name string, limit time.Duration) (done func()) {
	if limit <= 0 {
		return func() {}
	}
	c := &watchedCall{d: d, what: what, name: name, limit: limit}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(limit/ticks, c.tick)
	return c.end
}

// watchedCall is one call that is under way.
type watchedCall struct {
	d          *Dir
	what, name string
	limit      time.Duration

	mu    sync.Mutex
	timer *time.Timer
	ticks int
	ended bool
}

func (c *watchedCall) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	c.timer.Stop()
}

func (c *watchedCall) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	if c.ticks++; c.ticks < ticks {
		c.timer.Reset(c.limit / ticks)
		return
	}
	w := &c.d.watch
	w.once.Do(func() {
		w.err = &HangError{Path: c.d.root, Call: c.what + " " + c.name, For: c.limit}
		close(w.hung)
		if w.told != nil {
			go w.told(w.err) // it may end the process
		}
	})
}
