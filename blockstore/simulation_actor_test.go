package blockstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// actor does random work on a vault, as its owner, and says what it is about
// to do and what it has done, so that a model can follow it, whether it lives
// in the process of the model or in one that is killed.
type actor struct {
	dir   string
	opts  OwnOptions
	o     *Owner
	say   func(format string, args ...any) // may be called by several goroutines at once
	ahead time.Duration                    // of the real clock
	spare PointID                          // a point that is read elsewhere, and not deleted now
}

var simMachines = []string{"vm0", "vm1", "vm2"}

// now is the time in the simulation.
func (a *actor) now() time.Time { return time.Now().Add(a.ahead) }

func (a *actor) open(ctx context.Context) (err error) {
	a.opts.Clock = a.now
	if a.o, err = Own(ctx, a.dir, a.opts); err == nil {
		a.o.store.packBytes, a.o.store.together, a.o.dropTogether = crashPackBytes, 3, 2
	}
	return err
}

// step does one thing.
func (a *actor) step(ctx context.Context, r *rand.Rand) error {
	switch n := r.IntN(25); {
	case n < 7:
		return a.backUps(ctx, r)
	case n >= 24:
		seed := r.Uint64()
		return a.beside(func() error { return a.catalogue(ctx, seed) }, func() error { return a.sweep(ctx, r) })
	case n >= 23:
		return a.holdSweep(ctx, r)
	case n >= 21:
		other := rand.New(rand.NewPCG(r.Uint64(), 0))
		return a.beside(func() error { return a.sweep(ctx, other) }, func() error { return a.changePoints(ctx, r) })
	case n >= 20:
		return a.changeMachine(ctx, r)
	case n < 9:
		other := rand.New(rand.NewPCG(r.Uint64(), 0))
		return a.beside(func() error { return a.sweep(ctx, other) }, func() error { return a.backUps(ctx, r) })
	case n < 12:
		return a.delete(ctx, r)
	case n < 13:
		return a.undelete(ctx, r)
	case n < 14:
		return a.lock(ctx, r)
	case n < 17:
		return a.sweep(ctx, r)
	case n < 18:
		a.ahead += time.Duration(r.IntN(8*24)) * time.Hour
		a.say("ahead %d", a.ahead)
		return nil
	case n < 19:
		return a.reopen(ctx)
	}
	return a.rebuild(ctx)
}

// catalogue lists names at some points, each on top of the one before that has a list. The model
// does not know of it: nothing may depend on it.
func (a *actor) catalogue(ctx context.Context, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 0))
	points, err := a.o.Points(ctx)
	if err != nil {
		return err
	}
	base := map[MachineID]CatalogueID{}
	for _, p := range points {
		all, err := a.o.Catalogues(p.Machine)
		if err != nil {
			return err
		}
		if chain := all.Chains()[p.ID]; chain != nil {
			base[p.Machine] = chain[len(chain)-1].ID
			continue
		}
		if r.IntN(3) == 0 {
			continue
		}
		c, err := putCatalogue(a.o, p, base[p.Machine], []byte("head"), noise(r.Uint64(), 2))
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && r.IntN(4) > 0 {
			base[p.Machine] = c.ID
		}
	}
	return nil
}

// beside does two things at once.
func (a *actor) beside(f, g func() error) error {
	var other error
	var wg sync.WaitGroup
	wg.Go(func() { other = f() })
	err := g()
	wg.Wait()
	return errors.Join(err, other)
}

func (a *actor) reopen(ctx context.Context) error {
	if err := a.o.Close(); err != nil {
		return err
	}
	return a.open(ctx)
}

func (a *actor) rebuild(ctx context.Context) error {
	if err := a.o.Close(); err != nil {
		return err
	}
	if err := RebuildIndex(ctx, a.dir, a.opts, nil); err != nil {
		return err
	}
	return a.open(ctx)
}

// backUps backs up some machines at once; now and then one is cancelled midway.
func (a *actor) backUps(ctx context.Context, r *rand.Rand) error {
	errs := make([]error, len(simMachines)+1)
	var wg sync.WaitGroup
	if r.IntN(3) == 0 {
		other := rand.New(rand.NewPCG(r.Uint64(), 0))
		wg.Go(func() { errs[len(simMachines)] = a.changeMachine(ctx, other) })
	}
	for i, machine := range simMachines {
		if r.IntN(2) == 0 {
			continue
		}
		version, cut := r.Uint64(), -1
		if r.IntN(5) == 0 {
			cut = r.IntN(len(simDisk(version, i)))
		}
		wg.Go(func() { errs[i] = a.backUp(ctx, machine, version, i, cut) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cutShort is a source whose backup is cancelled when it is read so far.
type cutShort struct {
	memory
	at     int64
	cancel context.CancelFunc
}

func (c cutShort) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > c.at {
		c.cancel()
	}
	return c.memory.ReadAt(p, off)
}

// backUp backs a machine up whose disk is simDisk(version, as), until cut bytes
// of it were read; -1: all.
func (a *actor) backUp(ctx context.Context, machine string, version uint64, as, cut int) error {
	disk := simDisk(version, as)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b, err := a.o.Begin(ctx, BackupOptions{Machine: machine, Time: a.now(), Asked: Crash, Reached: Crash, Tool: sumOf(disk)})
	if err != nil {
		return err
	}
	defer b.Abort()
	a.say("backing %s %s %d %d", b.point.ID, b.point.Tool, version, as)
	var src Source = disk
	if cut >= 0 {
		src = cutShort{disk, int64(cut), cancel}
	}
	err = b.AddDisk(ctx, DiskInfo{Name: "vda", Format: "raw"}, src, nil)
	if err == nil {
		_, err = b.Commit(ctx)
	}
	switch {
	case err == nil:
		a.say("committed %s", b.point.ID)
	case cut >= 0 && errors.Is(err, context.Canceled):
		a.say("cancelled %s", b.point.ID)
	default:
		return err
	}
	return nil
}

// some returns one of the points that list returns, or nil.
func (a *actor) some(ctx context.Context, r *rand.Rand, list func(context.Context) ([]*Point, error)) (*Point, error) {
	points, err := list(ctx)
	if err != nil || len(points) == 0 {
		return nil, err
	}
	if p := points[r.IntN(len(points))]; p.ID != a.spare {
		return p, nil
	}
	return nil, nil
}

func (a *actor) delete(ctx context.Context, r *rand.Rand) error {
	for range 1 + r.IntN(3) {
		p, err := a.some(ctx, r, a.o.Points)
		if err != nil || p == nil {
			return err
		}
		a.say("deleting %s %d", p.ID, a.now().UnixNano())
		if err := a.o.Delete(p); err != nil {
			return err
		}
		a.say("deleted %s", p.ID)
	}
	return nil
}

func (a *actor) undelete(ctx context.Context, r *rand.Rand) error {
	p, err := a.some(ctx, r, a.o.Trash)
	if err != nil || p == nil {
		return err
	}
	a.say("undeleting %s", p.ID)
	if err := a.o.Undelete(p); errors.Is(err, ErrNotFound) {
		return nil // dropped, by a sweep beside
	} else if err != nil {
		return err
	}
	a.say("undeleted %s", p.ID)
	return nil
}

// changePoints deletes, takes out of the trash and locks points, which a sweep
// may want to drop just then.
func (a *actor) changePoints(ctx context.Context, r *rand.Rand) error {
	for range 1 + r.IntN(6) {
		if err := []func(context.Context, *rand.Rand) error{a.delete, a.undelete, a.undelete, a.lock}[r.IntN(4)](ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (a *actor) lock(ctx context.Context, r *rand.Rand) error {
	list := a.o.Points
	if r.IntN(2) == 0 {
		list = a.o.Trash
	}
	p, err := a.some(ctx, r, list)
	if err != nil || p == nil {
		return err
	}
	until := a.now().Add(time.Duration(1+r.IntN(20*24)) * time.Hour)
	if err := a.o.Lock(p, until); errors.Is(err, ErrLocked) || errors.Is(err, ErrNotFound) {
		return nil // a lock never gets shorter; one of the trash may be dropped just now
	} else if err != nil {
		return err
	}
	a.say("locked %s %d", p.ID, until.UnixNano())
	return nil
}

func (a *actor) sweep(ctx context.Context, r *rand.Rand) error {
	opts := SweepOptions{DryRun: r.IntN(8) == 0, Now: r.IntN(2) == 0, Full: r.IntN(3) == 0, Trash: r.IntN(4) == 0, Clock: a.now}
	if r.IntN(10) == 0 { // a clock that cannot be: nothing happens
		opts.Clock = func() time.Time { return time.Unix(1000, 0) }
		_, err := a.o.Sweep(ctx, opts)
		if errors.Is(err, ErrClock) {
			return nil
		}
		return fmt.Errorf("a sweep in 1970: %w", err)
	}
	a.say("sweeping %t %d", opts.Trash, a.now().UnixNano())
	report, err := a.o.Sweep(ctx, opts)
	if errors.Is(err, ErrClock) {
		a.say("swept")
		return nil
	}
	if err != nil {
		return err
	}
	if report.Damaged != 0 {
		return fmt.Errorf("a sweep found damage where there is none: %+v", report)
	}
	if opts.DryRun { // it says what it would drop
		report.Dropped = nil
	}
	for _, p := range report.Dropped {
		a.say("dropped %s", p.ID)
	}
	a.say("swept")
	return nil
}

// simDisk is what a machine's disk holds in a version: pieces that change
// seldom, often or never, some of them those of all machines, and zeros.
func simDisk(version uint64, machine int) memory {
	const piece = 96 << 10
	disk := make(memory, (8+version%5)*piece+version%7*1000)
	for i, at := 0, 0; at < len(disk); i, at = i+1, at+piece {
		if version>>i&7 == 7 {
			continue
		}
		owner := machine
		if i%3 == 0 {
			owner = 99
		}
		var seed [32]byte
		binary.LittleEndian.PutUint64(seed[:], version%uint64(1+i*i))
		seed[8], seed[9] = byte(i), byte(owner)
		if i%4 == 3 { // compresses
			copy(disk[at:min(at+piece, len(disk))], bytes.Repeat(seed[:], piece/32))
			continue
		}
		rand.NewChaCha8(seed).Read(disk[at:min(at+piece, len(disk))])
	}
	return disk
}
