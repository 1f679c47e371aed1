package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// quit leaves a vault that is not to be held any more. Jobs that a reload of the configuration finds there go on
// to their end; once all ends they have some time.
func (h *heldVault) quit(all context.Context, leave time.Duration) {
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
	h.leaveUntil(ctx, why)
}

// leave closes the vault once nobody uses it any more, or after a time.
func (h *heldVault) leave(why error, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.leaveUntil(ctx, why)
}

// leaveUntil closes the vault once nobody uses it any more, or when ctx ends.
func (h *heldVault) leaveUntil(ctx context.Context, why error) {
	h.mu.Lock()
	for h.closing { // by who puts it back if it is in use
		changed := h.changed
		h.mu.Unlock()
		<-changed // within fullPatience
		h.mu.Lock()
	}
	c := h.current
	h.mu.Unlock()
	if c == nil {
		return
	}
	h.set(func() { h.current, h.problem, h.since = nil, why, time.Now() })
	h.idle(ctx, c) // else those that use it get errors
	if err := c.owner.Close(); err != nil {
		h.log.Error("leaving the vault failed", "error", err)
		return
	}
	h.log.Info("vault is closed")
}

// idle returns nil when nobody uses an open vault any more, which nobody can take by now; it
// does not wait for one that hangs.
func (h *heldVault) idle(ctx context.Context, c *opened) error {
	for {
		h.mu.Lock()
		users, changed := c.users, h.changed
		h.mu.Unlock()
		if users == 0 {
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
	if err == nil && c.reclaim {
		release()
		err = fmt.Errorf("vault %s: %w", h.config().Path, blockstore.ErrFull)
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
	if err := h.idle(ctx, c); err != nil {
		h.set(func() { h.current, h.closing = c, false })
		return
	}
	if err := c.owner.Close(); err != nil {
		h.log.Error("leaving the vault failed", "error", err)
	}
	h.set(func() { h.closing = false })
	h.look()
}
