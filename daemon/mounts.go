package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/fusefs"
)

// unmountPatience is how long a mount that somebody uses is waited for before it is taken
// out of sight.
const unmountPatience = 3 * time.Second

// mounts show the points of each vault in a folder. The zero mounts show none. It is for one goroutine.
type mounts struct {
	conf  config.Mount
	shown map[*heldVault]*shown
}

// shown is a vault that is shown, or is to be.
type shown struct {
	name string // as which it was called then; "" for what its record says
	stop context.CancelFunc
	over chan struct{} // closed when it is shown no more
}

// set shows each of some vaults as soon as it is open, until it is none of them, or end. Who looks at one that
// stays is not disturbed; one that somebody took away is shown again.
func (m *mounts) set(d *Daemon, conf config.Mount, vaults []*heldVault) {
	m.leave(func(h *heldVault, s *shown) bool {
		return conf != m.conf || !slices.Contains(vaults, h) || s.name != h.config().Name || s.isOver()
	})
	m.conf = conf
	if conf.At == "" {
		return
	}
	for _, h := range vaults {
		if m.shown[h] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		s := &shown{h.config().Name, cancel, make(chan struct{})}
		if m.shown == nil {
			m.shown = map[*heldVault]*shown{}
		}
		m.shown[h] = s
		go func() { // leave waits for it
			defer close(s.over)
			if err := d.mount(ctx, h, conf); err != nil && ctx.Err() == nil {
				d.log.Error("the points of a vault are not shown", "vault", h.known().Name, "error", err)
			}
		}()
	}
}

func (s *shown) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// end takes the mounts away; those that somebody uses are out of sight then.
func (m *mounts) end() { m.leave(func(*heldVault, *shown) bool { return true }) }

// leave takes some of the mounts away.
func (m *mounts) leave(which func(*heldVault, *shown) bool) {
	var left []*shown
	for h, s := range m.shown {
		if which(h, s) {
			s.stop()
			left = append(left, s)
			delete(m.shown, h)
		}
	}
	for _, s := range left {
		<-s.over
	}
}

// mount shows a vault until ctx ends, with a reader of its own: the vault's owner may
// be replaced meanwhile.
func (d *Daemon) mount(ctx context.Context, h *heldVault, conf config.Mount) error {
	v, err := d.openForMount(ctx, h)
	if err != nil {
		return err
	}
	defer v.Close()
	known := h.known()
	if known.Name == "" {
		known.Name = v.Info().Name
	}
	log := d.log.With("vault", known.Name)
	o := fusefs.Options{AllowOther: conf.AllowOther, Describe: func(p *blockstore.Point) any { return service.DescribePoint(p) }, Log: log, Busy: func(err error) { log.Warn("the mount is in use", "error", err) }}
	if conf.Group != "" {
		if o.Group, err = config.GroupID(conf.Group); err != nil {
			return err
		}
	}
	at := filepath.Join(conf.At, known.Name)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return fmt.Errorf("make the folder of the mount: %w", err)
	}
	s, err := fusefs.Mount(ctx, at, fusefs.FromVault(v), o)
	if err != nil {
		return err
	}
	log.Info("points are shown", "at", at)
	gone := make(chan struct{})
	go func() { // ends with the mount
		s.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		if ctx.Err() == nil {
			log.Warn("somebody took the mount away: it comes back with a reload", "at", at)
		}
		return nil
	case <-ctx.Done():
	}
	select {
	case <-gone:
	case <-time.After(unmountPatience):
		log.Warn("the mount is taken out of sight while it is in use", "at", at)
		return s.UnmountLazily()
	}
	return nil
}

// openForMount opens a vault as soon as that can be read, whether this process may write into it or not.
func (d *Daemon) openForMount(ctx context.Context, h *heldVault) (*blockstore.Vault, error) {
	for {
		was, changed, err := h.tried(ctx)
		if err != nil {
			return nil, err
		}
		own, err := d.ownOptions(h.config())
		if err == nil {
			open := own.Options
			open.Hung = func(err error) { h.log.Error("reads from the mount wait", "error", err) }
			var v *blockstore.Vault
			if v, err = blockstore.Open(ctx, h.known().Path, open); err == nil {
				return v, nil
			}
		}
		if was {
			return nil, err
		}
		select {
		case <-changed: // with the next attempt to own it
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tried returns when the vault is open, or was, or cannot be opened; and what is closed when that may change. One that
// hangs is left alone.
func (h *heldVault) tried(ctx context.Context) (was bool, changed <-chan struct{}, err error) {
	for {
		h.mu.Lock()
		var hang *blockstore.HangError
		was, failed, changed := h.was, h.problem != nil && !errors.As(h.problem, &hang), h.changed
		h.mu.Unlock()
		if was || failed {
			return was, changed, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, nil, ctx.Err()
		}
	}
}

// awaitOpen returns when the vault is open, or was.
func (h *heldVault) awaitOpen(ctx context.Context) error {
	for {
		h.mu.Lock()
		known, changed := h.was, h.changed
		h.mu.Unlock()
		if known {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *heldVault) isOpen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.current != nil
}
