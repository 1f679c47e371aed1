package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// lend leaves a vault to a client. Jobs that run there are in the way, and none begins meanwhile.
func (d *Daemon) lend(ctx context.Context, vault string) (release func(), err error) {
	h, err := d.vaults.find(vault)
	if err != nil {
		return nil, err
	}
	to := borrower(ctx)
	begin := d.jobs.Hold(h.known().Key(), (&LentError{h.config().Path, to}).Error())
	if busy := runningIn(d.jobs.Unfinished(h.known().Key())); busy != nil {
		begin()
		return nil, busy
	}
	back, err := d.vaults.lend(ctx, vault, to)
	if err != nil {
		begin()
		return nil, err
	}
	return func() {
		back()
		begin()
	}, nil
}

// borrower says in words who asks for a vault.
func borrower(ctx context.Context) string {
	c, ok := api.CallerOf(ctx)
	if !ok {
		return "a command that needs it for itself"
	}
	if c.PID == 0 {
		return c.Name
	}
	return fmt.Sprintf("%s (pid %d%s)", c.Name, c.PID, commandOf(c.PID))
}

// commandOf is what a process was called with, up to its first flag, as ", holdfast vault copy"; "" where that
// cannot be told.
func commandOf(pid int) string {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(line) == 0 {
		return ""
	}
	var words []string
	for i, w := range bytes.Split(bytes.TrimRight(line, "\x00"), []byte{0}) {
		if i == 0 {
			w = []byte(filepath.Base(string(w)))
		}
		if bytes.HasPrefix(w, []byte("-")) || len(words) == 4 || bytes.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) }) {
			break
		}
		words = append(words, string(w[:min(len(w), 64)]))
	}
	if len(words) == 0 {
		return ""
	}
	return ", " + strings.Join(words, " ")
}

// JobsError says that jobs that run are in the way.
type JobsError struct{ Jobs []api.Job }

func (e *JobsError) Error() string {
	var names []string
	for _, j := range e.Jobs {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s (%s %s", j.ID, j.Kind, j.Machine))+")")
	}
	return "jobs run in the vault: " + strings.Join(names, ", ")
}

// Unwrap makes it a kind of being busy.
func (e *JobsError) Unwrap() error { return service.ErrInUse }

// runningIn returns an error where any of some jobs runs.
func runningIn(list []api.Job) error {
	list = slices.DeleteFunc(list, func(j api.Job) bool { return j.State != api.JobRunning })
	if len(list) == 0 {
		return nil
	}
	return &JobsError{list}
}

// lend leaves a vault to another process until release is called. What uses it is waited for
// until ctx ends; meanwhile, and while it is lent, nobody else gets it. To says who that is.
func (vs *vaults) lend(ctx context.Context, vault, to string) (release func(), err error) {
	h, err := vs.find(vault)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.lent != "" {
		defer h.mu.Unlock()
		return nil, &LentError{h.conf.Path, h.lent}
	}
	h.lent = to
	h.mu.Unlock()
	release = sync.OnceFunc(func() {
		h.set(func() { h.lent, h.problem = "", nil })
		h.look()
	})
	c, err := h.settled(ctx)
	if err != nil {
		release()
		return nil, err
	}
	if c == nil {
		return release, nil
	}
	h.set(func() { h.current = nil })
	h.endLasting(c)
	if err := h.idle(ctx, c, false); err != nil {
		h.set(func() { h.current, c.needed = c, make(chan struct{}) }) // it never was closed
		release()
		return nil, fmt.Errorf("vault %s cannot be lent: it is in use still: %w", h.config().Path, err)
	}
	if err := c.owner.Close(); err != nil {
		release()
		return nil, fmt.Errorf("lend the vault: %w", err)
	}
	h.log.Info("vault is lent", "to", to)
	return release, nil
}

// settled returns what is open of a vault, nil where nothing is, once nobody opens it or may put it back: what is lent
// is not opened from then on.
func (h *heldVault) settled(ctx context.Context) (*opened, error) {
	for {
		h.mu.Lock()
		c, busy, changed := h.current, h.opening || h.closing, h.changed
		h.mu.Unlock()
		if !busy {
			return c, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("vault %s cannot be lent: it is being opened still: %w: %w", h.config().Path, service.ErrInUse, context.Cause(ctx))
		}
	}
}
