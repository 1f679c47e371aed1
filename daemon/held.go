package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

const (
	// vaultPatience is how long the file system of a vault may take for a call: its jobs
	// fail within a minute.
	vaultPatience = 40 * time.Second
	// openPatience is how long something waits for a vault that is being opened.
	openPatience = 15 * time.Second
	// firstReopen is how long after a failure a vault is opened again; each further pause is
	// twice as long, up to longestReopen.
	firstReopen   = 5 * time.Second
	longestReopen = 5 * time.Minute
	// lostPatience is how long what uses a vault goes on that lies there no more.
	lostPatience = 10 * time.Second
	// lastingPatience is how long what may last goes on when its vault is needed alone, or is to be left.
	lastingPatience = 10 * time.Second
	// fullPatience is how long who makes room in a full vault keeps another one from looking whether there is some.
	fullPatience = 5 * time.Second
)

// LentError reports a vault that a command has for itself for a while.
type LentError struct {
	Vault string
	To    string // who has it, in words
}

func (e *LentError) Error() string { return fmt.Sprintf("vault %s is lent to %s", e.Vault, e.To) }

// Unwrap makes it a kind of being busy.
func (e *LentError) Unwrap() error { return service.ErrInUse }

// heldVault is one vault that this process owns, or tries to: opened, and opened again
// whenever that failed or its file system hung. Safe for concurrent use.
type heldVault struct {
	log     *slog.Logger
	own     func(ctx context.Context, path string, o blockstore.OwnOptions) (*blockstore.Owner, error)
	options func(config.Vault) (blockstore.OwnOptions, error)
	told    func() // called whenever it was opened or left
	pauses  func(failures int) time.Duration
	lasting time.Duration // see lastingPatience

	ended chan struct{} // closed when it is left for good
	poke  chan struct{} // has the loop look again at once; of capacity 1

	mu      sync.Mutex
	conf    config.Vault
	id      blockstore.VaultID // as it was when it was open last; "" before
	name    string
	current *opened
	was     bool               // it was open
	problem error              // why it is not open; nil while nothing is known yet
	since   time.Time          // of the problem
	lent    string             // to whom; "": it is not
	closing bool               // to be opened again at once
	opening bool               // its loop is just opening it
	term    context.Context    // ends when it is not to be held any more
	letGo   context.CancelFunc // ends it; called by who holds vaults.mu
	gone    bool               // it is left for good
	changed chan struct{}      // closed when any of this changes
}

// opened is a vault while it is open.
type opened struct {
	owner   *blockstore.Owner
	reclaim error         // it is full, which this says: room can be made in it, and nothing stored; nil: it is not
	hung    chan struct{} // closed when its file system does not answer
	hang    error         // set before that
	once    sync.Once
	lost    error // why it is to be left: it lies there no more; guarded by heldVault.mu
	users   int   // guarded by heldVault.mu

	needed chan struct{} // closed when what lasts has to end, because somebody waits for users to be none; replaced under heldVault.mu
}

// hangs notes that the vault's file system does not answer.
func (c *opened) hangs(err error) {
	c.once.Do(func() {
		c.hang = err
		close(c.hung)
	})
}

func newHeldVault(conf config.Vault, log *slog.Logger) *heldVault {
	return &heldVault{conf: conf, log: log.With("vault", conf.Path), own: blockstore.Own, told: func() {}, ended: make(chan struct{}), poke: make(chan struct{}, 1), changed: make(chan struct{}), lasting: lastingPatience,
		pauses: func(failures int) time.Duration { return min(firstReopen<<min(failures-1, 10), longestReopen) }}
}

// hold keeps the vault open until its term ends, and leaves it then, unless it is to be held again: when nobody
// uses it any more, or some time after all ended.
func (h *heldVault) hold(all context.Context, leave time.Duration) {
	failures := 0
	for {
		wait := time.Duration(-1)
		h.mu.Lock()
		ctx := h.term
		needed := h.current == nil && h.lent == "" && !h.closing
		h.opening = needed
		h.mu.Unlock()
		if needed {
			if err := h.open(ctx); err != nil && ctx.Err() == nil {
				failures++
				wait = h.pauses(failures)
				var busy *blockstore.BusyError
				if errors.As(err, &busy) && !busy.OtherHost { // commands come and go
					wait = h.pauses(1)
				}
				h.failed(err, failures, wait)
			} else {
				failures = 0
			}
			h.note(func() { h.opening = false })
		}
		h.await(ctx, wait)
		if ctx.Err() != nil && h.quit(all, leave) {
			return
		}
	}
}

// await returns when there is something to do: after a time that is not negative, at the
// latest. A vault that hangs is left.
func (h *heldVault) await(ctx context.Context, wait time.Duration) {
	var again <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
	case <-h.hungNow():
		h.leave(h.hangError(), 0)
	case <-h.poke:
	case <-again:
	}
	if err := h.lostNow(); err != nil {
		h.log.Error("the vault is left, and opened again when it is back", "error", err)
		h.leave(err, lostPatience)
	}
}

// open opens the vault; one that is full is opened so that room can be made in it.
func (h *heldVault) open(ctx context.Context) error {
	h.mu.Lock()
	conf := h.conf
	h.mu.Unlock()
	o, err := h.options(conf)
	if err != nil {
		return err
	}
	c := &opened{hung: make(chan struct{}), needed: make(chan struct{})}
	warn := o.Warn
	o.Warn = func(text string) {
		h.log.Warn(text)
		if warn != nil {
			warn(text)
		}
	}
	o.Patience = vaultPatience
	o.Hung = c.hangs
	c.owner, err = h.own(ctx, conf.Path, o)
	if errors.Is(err, blockstore.ErrFull) {
		h.log.Warn("the vault is full: nothing is stored in it until there is room", "error", err)
		o.Reclaim, c.reclaim = true, err
		c.owner, err = h.own(ctx, conf.Path, o)
	}
	if err != nil {
		return err
	}
	info := c.owner.Info()
	h.log.Info("vault is open", "id", info.ID, "name", info.Name)
	h.set(func() { h.current, h.was, h.problem, h.id, h.name = c, true, nil, info.ID, info.Name })
	return nil
}

// failed notes and tells why the vault cannot be opened; the same is not told each time.
func (h *heldVault) failed(err error, failures int, again time.Duration) {
	h.mu.Lock()
	same := h.problem != nil && h.problem.Error() == err.Error()
	h.mu.Unlock()
	level := slog.LevelError
	if same && failures > 1 {
		level = slog.LevelDebug
	}
	h.log.Log(context.Background(), level, "vault cannot be opened, others go on", "error", err, "again_in", again.String())
	h.set(func() {
		if h.problem == nil {
			h.since = time.Now()
		}
		h.problem = err
	})
}

// set changes the state and tells who waits for that, and whoever the vault is told to.
func (h *heldVault) set(change func()) {
	h.note(change)
	h.told()
}

// note changes the state and tells who waits for that.
func (h *heldVault) note(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *heldVault) look() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

// hungNow is closed when the vault that is open hangs; nil where none is open.
func (h *heldVault) hungNow() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return nil
	}
	return h.current.hung
}

func (h *heldVault) hangError() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return nil
	}
	return h.current.hang
}

// take returns the open vault for use, until release is called. One that is being opened is
// waited for a little.
func (h *heldVault) take(ctx context.Context) (c *opened, release func(), err error) {
	timer := time.NewTimer(openPatience)
	defer timer.Stop()
	for {
		h.mu.Lock()
		c, problem, changed, lent, path := h.current, h.problem, h.changed, h.lent, h.conf.Path
		if c != nil && c.lost != nil {
			c, problem = nil, c.lost
		}
		if c != nil {
			c.users++
			h.mu.Unlock()
			return c, sync.OnceFunc(func() { h.give(c) }), nil
		}
		h.mu.Unlock()
		switch {
		case lent != "":
			return nil, nil, &LentError{path, lent}
		case problem != nil:
			return nil, nil, fmt.Errorf("vault %s is not open: %w", path, problem)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-timer.C:
			return nil, nil, fmt.Errorf("vault %s is still being opened", path)
		}
	}
}

// give ends a use that take began.
func (h *heldVault) give(c *opened) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.users--; c.users == 0 {
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// use calls do with the vault, and returns its error, or that the vault hangs as soon as it does:
// do is left behind then.
func (h *heldVault) use(ctx context.Context, to service.Purpose, do func(*blockstore.Owner) error) error {
	return h.useOpened(ctx, to, func(c *opened) error { return do(c.owner) })
}

func (h *heldVault) useOpened(ctx context.Context, to service.Purpose, do func(*opened) error) error {
	c, release, err := h.take(ctx)
	if err != nil {
		return err
	}
	if c.reclaim != nil && to == service.ToStore {
		release()
		if c, release, err = h.afresh(ctx, c); err != nil {
			return err
		}
	}
	return unlessHung(c.hung, func() error { return c.hang }, func() error {
		defer release()
		if err := h.inPlace(c); err != nil {
			return err
		}
		return do(c)
	})
}

// unlessHung returns what do returns, or why soon after hung is closed: do is left behind
// then. A panic of do is an error, since it is not its caller's goroutine that panics.
func unlessHung(hung <-chan struct{}, why func() error, do func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("internal error, please report it: %v\n%s", p, debug.Stack())
			}
		}()
		done <- do()
	}()
	select {
	case err := <-done:
		return err
	case <-hung:
	}
	select { // it is told so itself, mostly
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return why()
	}
}
