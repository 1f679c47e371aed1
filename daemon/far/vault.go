package far

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs"
)

// Daemon is what is asked of a daemon: *api.Client.
type Daemon interface {
	Points(ctx context.Context, vault, machine string) ([]api.Point, error)
	DiskContent(ctx context.Context, vault, machine, point, disk string, offset, length int64) (io.ReadCloser, error)
	DiskMap(ctx context.Context, vault, machine, point, disk string, offset int64) (api.DiskRanges, error)
	ReadConfig(ctx context.Context, vault, machine, point, name string) ([]byte, error)
}

// Options of [New].
type Options struct {
	Vault string // how the daemon knows it
	Name  string // for people; empty: Vault
	Path  string // where it lies, as far as that is known

	// Cache is how much content is kept in memory, in bytes; 0: 64 MiB.
	Cache int64

	// Patience is how long a daemon that does not answer is asked again; 0: 3 s.
	Patience time.Duration

	// Lost is told once why nothing more will be had: the daemon is gone, or this user may not read
	// any more. nil: nobody is.
	Lost func(error)
}

// Vault is a vault that a daemon reads. It is safe for concurrent use.
type Vault struct {
	from   Daemon
	o      Options
	ctx    context.Context // ends with Close; what is read in it is read for its purpose
	cancel context.CancelFunc
	ahead  sync.WaitGroup // what reads ahead
	slots  chan struct{}  // of those that do
	cache  *cache
	once   sync.Once // for Lost

	sharing   sync.Mutex // guards what follows; held while memory is shared
	shared    *memory    // nil: none
	shareNext time.Time  // not to be tried before

	mu     sync.Mutex // guards what follows
	away   error      // what was said of the daemon when it was found away
	until  time.Time  // till when it is taken to be still so
	listed listing
}

// listing is what the daemon listed last.
type listing struct {
	points []*blockstore.Point
	told   map[blockstore.PointID]api.Point
	next   time.Time // when to ask again
}

var _ fusefs.Vault = (*Vault)(nil)

const (
	usualCache    = 64 << 20
	usualPatience = 3 * time.Second
	staysAway     = 5 * time.Second // after which a daemon that was away is asked again
	aheadAtOnce   = 3
)

// New returns a vault that is read as part of ctx. It asks nothing yet.
func New(ctx context.Context, from Daemon, o Options) *Vault {
	if o.Cache <= 0 {
		o.Cache = usualCache
	}
	if o.Patience <= 0 {
		o.Patience = usualPatience
	}
	if o.Name == "" {
		o.Name = o.Vault
	}
	v := &Vault{from: from, o: o, slots: make(chan struct{}, aheadAtOnce), cache: newCache(o.Cache)}
	v.ctx, v.cancel = context.WithCancel(ctx)
	return v
}

// Close ends what reads ahead, and waits for it.
func (v *Vault) Close() {
	v.cancel()
	v.sharing.Lock()
	m := v.shared
	v.shared = nil
	v.sharing.Unlock()
	if m != nil {
		m.close()
	}
	v.ahead.Wait()
}

// Info says as much of the vault as is known here.
func (v *Vault) Info() blockstore.VaultInfo {
	return blockstore.VaultInfo{ID: blockstore.VaultID(v.o.Vault), Name: v.o.Name, Path: v.o.Path, BlockSize: blockstore.DefaultBlockSize}
}

// ReadConfig returns one file of a point's configuration.
func (v *Vault) ReadConfig(ctx context.Context, p *blockstore.Point, name string) (b []byte, err error) {
	return b, v.ask(ctx, func() (err error) {
		b, err = v.from.ReadConfig(v.purposely(ctx), v.o.Vault, string(p.Machine), string(p.ID), name)
		return err
	})
}

// OpenDisk opens a disk of a point. The daemon is asked when it is read.
func (v *Vault) OpenDisk(p *blockstore.Point, disk string) (fusefs.Disk, error) {
	d, err := v.Disk(p, disk)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Disk is OpenDisk.
func (v *Vault) Disk(p *blockstore.Point, disk string) (*Disk, error) {
	info, err := p.Disk(disk)
	if err != nil {
		return nil, err
	}
	return &Disk{v: v, point: p, info: *info}, nil
}

// purposely has a context say the purpose of the vault's.
func (v *Vault) purposely(ctx context.Context) context.Context {
	if words := api.PurposeOf(v.ctx); words != "" && api.PurposeOf(ctx) == "" {
		return api.WithPurpose(ctx, words)
	}
	return ctx
}

// ask does what asks the daemon, again for a while where that does not answer.
func (v *Vault) ask(ctx context.Context, do func() error) error {
	if err := v.stillAway(); err != nil {
		return err
	}
	began := time.Now()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := do()
		if err == nil || ctx.Err() != nil || !errors.Is(err, api.ErrUnreachable) && !busy(err) {
			return v.explained(err)
		}
		if time.Since(began)+pause > v.o.Patience {
			return v.isAway(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// busy tells errors that pass: the daemon has no room, or ends and is started again.
func busy(err error) bool {
	var p *api.Problem
	return errors.As(err, &p) && (p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable)
}

func (v *Vault) stillAway() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.away != nil && time.Now().Before(v.until) {
		return v.away
	}
	return nil
}

// isAway has others not wait for the daemon as long as this one did.
func (v *Vault) isAway(err error) error {
	err = &away{err}
	v.mu.Lock()
	v.away, v.until = err, time.Now().Add(staysAway)
	v.mu.Unlock()
	v.lost(err)
	return err
}

func (v *Vault) lost(err error) {
	if v.o.Lost != nil {
		v.once.Do(func() { v.o.Lost(err) })
	}
}
