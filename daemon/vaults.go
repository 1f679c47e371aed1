package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// vaults are those that this process holds, for its service. Safe for concurrent use.
type vaults struct {
	log     *slog.Logger
	options func(config.Vault) (blockstore.OwnOptions, error)
	told    func()             // called whenever a vault was opened or left, or is not held any more
	altered func(h *heldVault) // called whenever records of a vault were written by who asked to; nil: nobody is
	leave   time.Duration
	before  func(path string) (id blockstore.VaultID, name string)                                     // as which a vault was told before this process; nil: as none
	pauses  func(failures int) time.Duration                                                           // between attempts to open one; nil: the usual
	own     func(ctx context.Context, path string, o blockstore.OwnOptions) (*blockstore.Owner, error) // opens one; nil: blockstore.Own

	mu      sync.Mutex
	all     []*heldVault
	leaving []*heldVault   // that are not held any more and may still be open
	wait    sync.WaitGroup // for the loops of both
}

var _ service.Vaults = (*vaults)(nil)

// set holds the vaults of a configuration: those that are new from now on, others as before,
// and no more those that are not in it, which are closed when what uses them has ended. One of those that
// is named again before that is held as it was.
func (vs *vaults) set(ctx context.Context, confs []config.Vault) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	keep := []*heldVault{}
	for _, c := range confs {
		if h := lyingAt(vs.all, c.Path); h != nil {
			h.reconfigure(c)
			keep = append(keep, h)
			continue
		}
		h := lyingAt(vs.leaving, c.Path)
		if h != nil {
			h.reconfigure(c)
		}
		if h == nil || !h.holdAgain(ctx) {
			h = vs.begin(ctx, c, h)
		}
		keep = append(keep, h)
	}
	vs.leaving = slices.DeleteFunc(vs.leaving, func(h *heldVault) bool { return slices.Contains(keep, h) || h.isClosed() })
	for _, h := range vs.all {
		if !slices.Contains(keep, h) {
			h.letGo()
			vs.leaving = append(vs.leaving, h)
		}
	}
	vs.all = keep
}

// lyingAt returns the vault of some that lies at a path; nil: none does.
func lyingAt(some []*heldVault, path string) *heldVault {
	for _, h := range slices.Backward(some) {
		if filepath.Clean(h.config().Path) == filepath.Clean(path) {
			return h
		}
	}
	return nil
}

// begin holds a vault until ctx ends, or it is let go: when the one before, which may be nil, is closed.
func (vs *vaults) begin(ctx context.Context, c config.Vault, before *heldVault) *heldVault {
	h := newHeldVault(c, vs.log)
	h.options, h.told = vs.options, vs.told
	if vs.before != nil {
		h.id, h.name = vs.before(c.Path)
	}
	if vs.pauses != nil {
		h.pauses = vs.pauses
	}
	if vs.own != nil {
		h.own = vs.own
	}
	h.term, h.letGo = context.WithCancel(ctx)
	vs.wait.Go(func() {
		defer close(h.ended)
		if before != nil {
			<-before.ended // soon: it is gone
		}
		h.hold(ctx, vs.leave)
	})
	return h
}

// reconfigure makes a configuration that of a vault: its schedules count at once; how it is
// opened, when it is opened next.
func (h *heldVault) reconfigure(c config.Vault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conf = c
}

func (h *heldVault) config() config.Vault {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conf
}

// known is how the vault is named.
func (h *heldVault) known() service.Known {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := service.Known{ID: h.id, Name: h.conf.Name, Path: h.conf.Path}
	if h.current == nil && h.lent == "" && !h.closing {
		k.Unowned = h.problem
	}
	if k.Name == "" {
		k.Name = h.name
	}
	return k
}

func (vs *vaults) list() []*heldVault {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return slices.Clone(vs.all)
}

// List is part of service.Vaults.
func (vs *vaults) List(context.Context) ([]service.Known, error) {
	var all []service.Known
	for _, h := range vs.list() {
		all = append(all, h.known())
	}
	return all, nil
}

// Find is part of service.Vaults. Where there is one vault, nothing names it, too.
func (vs *vaults) Find(_ context.Context, vault string) (service.Known, error) {
	h, err := vs.find(vault)
	if err != nil {
		return service.Known{}, err
	}
	return h.known(), nil
}

func (vs *vaults) find(vault string) (*heldVault, error) {
	all := vs.list()
	if vault == "" && len(all) == 1 {
		return all[0], nil
	}
	for _, by := range []func(service.Known) bool{
		func(k service.Known) bool { return string(k.ID) == vault },
		func(k service.Known) bool { return k.Path == vault || filepath.Clean(vault) == filepath.Clean(k.Path) },
		func(k service.Known) bool { return k.Name == vault },
	} {
		var found []*heldVault
		for _, h := range all {
			if vault != "" && by(h.known()) {
				found = append(found, h)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("%d vaults of this daemon are called %.64q: name it by its path or id", len(found), vault)
		}
	}
	return nil, service.Hinted(fmt.Errorf("vault %.200q is none of this daemon's: %w", vault, blockstore.ErrNotVault), "name one of its vaults by name, id or path; GET /api/v1/vaults lists them")
}

// Read is part of service.Vaults. A vault that this process does not own, for whatever reason, is
// read all the same, if it can be.
func (vs *vaults) Read(ctx context.Context, vault string, do func(*blockstore.Vault) error) error {
	return vs.read(ctx, vault, func(_ *heldVault, _ *opened, v *blockstore.Vault) error { return do(v) })
}

// Lasting is part of service.Vaults.
func (vs *vaults) Lasting(ctx context.Context, vault string, do func(context.Context, *blockstore.Vault) error) error {
	return vs.read(ctx, vault, func(h *heldVault, c *opened, v *blockstore.Vault) error {
		if c == nil {
			return do(ctx, v) // nobody waits for a vault that was opened for this alone
		}
		return h.whileNotNeeded(ctx, c, func(ctx context.Context) error { return do(ctx, v) })
	})
}

// read calls do with a vault, and with what it is while it is open; nil if it was opened for this reading alone.
func (vs *vaults) read(ctx context.Context, vault string, do func(*heldVault, *opened, *blockstore.Vault) error) error {
	h, err := vs.find(vault)
	if err != nil {
		return err
	}
	h.mu.Lock()
	open := h.current != nil
	problem, path := h.problem, h.conf.Path
	h.mu.Unlock()
	var hang *blockstore.HangError
	if open || problem == nil || errors.As(problem, &hang) {
		err := h.useOpened(ctx, service.ToNote, func(c *opened) error { return do(h, c, c.owner.Vault) })
		var lent *LentError
		if !errors.As(err, &lent) {
			return err
		}
	}
	return h.read(ctx, path, func(v *blockstore.Vault) error { return do(h, nil, v) })
}

// read opens the vault for one reading.
func (h *heldVault) read(ctx context.Context, path string, do func(*blockstore.Vault) error) error {
	o, err := h.options(h.config())
	if err != nil {
		return err
	}
	open := o.Options
	open.Patience = vaultPatience
	hung := make(chan struct{})
	var why error
	var once sync.Once
	open.Hung = func(err error) {
		once.Do(func() {
			why = err
			close(hung)
		})
	}
	v, err := blockstore.Open(ctx, path, open)
	if err != nil {
		return service.OrUnreachable(path, err)
	}
	return unlessHung(hung, func() error { return why }, func() error {
		defer v.Close()
		return do(v)
	})
}

// Own is part of service.Vaults.
func (vs *vaults) Own(ctx context.Context, vault string, to service.Purpose, do func(*blockstore.Owner) error) error {
	h, err := vs.find(vault)
	if err != nil {
		return err
	}
	err = h.use(ctx, to, do)
	if to == service.ToChange && vs.altered != nil { // what was not due may be now
		vs.altered(h)
	}
	return err
}
