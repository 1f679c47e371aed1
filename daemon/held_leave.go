package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// holdAgain makes a vault one that is held until ctx ends, from where it is left; false: it is gone.
func (h *heldVault) holdAgain(ctx context.Context) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.gone {
		return false
	}
	h.term, h.letGo = context.WithCancel(ctx)
	close(h.changed)
	h.changed = make(chan struct{})
	return true
}

// heldAgain tells whether a vault that was not to be held any more is.
func (h *heldVault) heldAgain() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.term.Err() == nil
}

// isClosed tells whether nothing of the vault is held any more.
func (h *heldVault) isClosed() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

// quit leaves a vault that is not to be held any more, and tells whether it has. Jobs that a reload of the
// configuration finds there go on to their end; once all ends they have some time. One that is to be held again
// meanwhile is not closed.
func (h *heldVault) quit(all context.Context, leave time.Duration) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	why := errors.New("it is none of this daemon's any more")
	if all.Err() != nil {
		why = errors.New("the daemon is ending")
	}
	stop := context.AfterFunc(all, func() {
		select {
		case <-time.After(leave):
		case <-ctx.Done():
		}
		cancel()
	})
	defer stop()
	return h.leaveUntil(ctx, why, true)
}

// leave closes the vault once nobody uses it any more, or after a time.
func (h *heldVault) leave(why error, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.leaveUntil(ctx, why, false)
}

// leaveUntil closes the vault once nobody uses it any more, or when ctx ends. Where that is for good it returns
// false, and leaves it open, when it is to be held again by then.
func (h *heldVault) leaveUntil(ctx context.Context, why error, forGood bool) bool {
	h.mu.Lock()
	for h.closing { // by who puts it back if it is in use
		changed := h.changed
		h.mu.Unlock()
		<-changed // within fullPatience
		h.mu.Lock()
	}
	c := h.current
	h.mu.Unlock()
	if forGood && h.heldAgain() {
		return false
	}
	if c != nil {
		h.set(func() { h.current, h.problem, h.since = nil, why, time.Now() })
		h.endLasting(c)
		h.idle(ctx, c, forGood) // else those that use it get errors
	}
	if forGood && !h.endTerm(c) {
		return false
	}
	if c == nil {
		return true
	}
	if err := c.owner.Close(); err != nil {
		h.log.Error("leaving the vault failed", "error", err)
		return true
	}
	h.log.Info("vault is closed")
	return true
}

// endTerm makes a vault whose term is over one that is gone, and puts back what was open where it is to be held again.
func (h *heldVault) endTerm(c *opened) (over bool) {
	h.mu.Lock()
	if over = h.term.Err() != nil; over {
		h.gone = true
	}
	h.mu.Unlock()
	if !over {
		h.set(func() {
			h.current, h.problem = c, nil
			if c != nil {
				c.needed = make(chan struct{})
			}
		})
		h.log.Info("the vault is held again, as it was")
	}
	return over
}

// idle returns nil when nobody uses an open vault any more, which nobody can take by now; it
// does not wait for one that hangs, or, where it waits for a term to end, that is to be held again.
func (h *heldVault) idle(ctx context.Context, c *opened, ending bool) error {
	for {
		h.mu.Lock()
		users, changed, again := c.users, h.changed, h.term.Err() == nil
		h.mu.Unlock()
		if users == 0 || ending && again {
			return nil
		}
		select {
		case <-changed:
		case <-c.hung:
			return c.hang
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lostNow is why the vault that is open is to be left; nil: it is not.
func (h *heldVault) lostNow() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		return nil
	}
	return h.current.lost
}

// inPlace returns an error when an open vault lies no more where it was opened, and has it left then.
func (h *heldVault) inPlace(c *opened) error {
	err := c.owner.InPlace()
	if err == nil || !errors.Is(err, blockstore.ErrNotVault) {
		return err
	}
	h.mu.Lock()
	c.lost = err
	h.mu.Unlock()
	h.look()
	return err
}

// afresh opens a vault again that was full, to see whether there is room now. Who makes room in it, or reads it, is
// waited for a little, and not cut short.
func (h *heldVault) afresh(ctx context.Context, was *opened) (*opened, func(), error) {
	h.closeUnused(ctx, was)
	c, release, err := h.take(ctx)
	if err == nil && c.reclaim != nil {
		release()
		err = c.reclaim
	}
	return c, release, err
}

// closeUnused closes an open vault, to be opened again at once, unless it is in use for long.
func (h *heldVault) closeUnused(ctx context.Context, c *opened) {
	h.mu.Lock()
	if h.current != c || h.closing {
		h.mu.Unlock()
		return // by another one
	}
	h.current, h.problem, h.closing = nil, nil, true
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fullPatience)
	defer cancel()
	if err := h.idle(ctx, c, false); err != nil {
		h.set(func() { h.current, h.closing = c, false })
		return
	}
	if err := c.owner.Close(); err != nil {
		h.log.Error("leaving the vault failed", "error", err)
	}
	h.set(func() { h.closing = false })
	h.look()
}

// whileNotNeeded calls do with a context that ends some time after somebody needs the vault alone, or it is to be
// left: what can be cut short, as a download can, keeps nobody waiting longer.
func (h *heldVault) whileNotNeeded(ctx context.Context, c *opened, do func(context.Context) error) error {
	h.mu.Lock()
	needed := c.needed
	h.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case <-needed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(h.lasting):
			cancel(&NeededError{h.config().Path})
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel(nil)
		<-ended
	}()
	return do(ctx)
}

// endLasting asks what lasts to end soon.
func (h *heldVault) endLasting(c *opened) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-c.needed:
	default:
		close(c.needed)
	}
}

// NeededError reports that something was cut short because its vault is needed alone, or is let go.
type NeededError struct{ Vault string }

func (e *NeededError) Error() string {
	return fmt.Sprintf("it was cut short, because vault %s is let go by the daemon: try again in a while", e.Vault)
}

// Unwrap makes it a kind of being busy.
func (e *NeededError) Unwrap() error { return syscall.EBUSY }
