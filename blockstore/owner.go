package blockstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/index"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// OwnOptions of Own. The zero value works.
type OwnOptions struct {
	Options
	Wait         time.Duration    // for another process of this host to give the vault up; 0: not at all
	Waiting      func(*BusyError) // called once when waiting begins; may be nil
	Still        func() bool      // asked while it waits, many times a second: false ends that with the *BusyError; may be nil
	Budget       *Budget          // nil: one of DefaultBudget for this owner
	Acceleration int              // of LZ4; 0 means 1
	Paranoid     bool             // decompress and compare whatever is stored
	MinFree      int64            // floor of free space in bytes; 0: backend.Floor; negative: none
	StateDir     string           // where the index lies when the vault is not on a local file system; "": /var/lib/holdfast

	Clock func() time.Time // nil: time.Now

	// Reclaim opens a vault whose free space is below the floor, to make room in
	// it: points can be deleted and swept, and none be made.
	Reclaim bool

	// Event is told the named moments of writing, for tests that end the process there; may be nil.
	Event func(name string)
}

// Owner is a vault opened for writing, by the one process that may. Its
// methods are safe for concurrent use.
type Owner struct {
	*Vault
	opts  OwnOptions
	claim *claim
	index *index.DB
	store store

	freeMemory func() // ends the limit of the process's memory that this owner wished for

	// committing is held from the writing of a segment to that of the point
	// that it is for, so that each sealed pack is named by one segment.
	committing sync.Mutex
	nextSeg    uint64 // guarded by committing
	// undone are points that a segment tells of and whose commit failed then;
	// guarded by committing.
	undone []segment.Point
	// spoilt is set when something could not be written: what is there is
	// believed by the next owner only after a sync of all of it.
	spoilt atomic.Bool

	// beside is the path of something that grows by itself and shares the vault's
	// file system; nil: none is known.
	beside atomic.Pointer[string]

	history history
	damage  damage
	cutOff  []pack.ID // packs that are shorter than segments say, as they were found at the beginning

	sweeping   sync.Mutex // held by the sweep that runs
	walkMemory int        // bytes that each list of its walk keeps in memory; 0: defaultWalkMemory
	// dropTogether is how many points one of its segments tells as dropped.
	dropTogether int

	clock   clock
	spent   bool // the reserve was given up by this owner; guarded by sweeping once open
	noIndex bool // there is no room for one: index.None is used

	// attributing is held while attributes of points are read to be changed;
	// taken before committing.
	attributing sync.Mutex

	// machining is held while records of machines are read to be changed or made.
	machining sync.Mutex

	// cataloguing is held while a catalogue becomes visible, and while some are removed.
	cataloguing sync.Mutex

	mu       sync.Mutex
	running  map[string]bool  // machines that are being backed up, by name and by id
	parents  map[PointID]bool // points that running backups are compared with
	dropping map[PointID]bool // points that are not to become parents any more
}

// Own opens a vault for writing. A vault that another process has is a *BusyError.
func Own(ctx context.Context, dir string, o OwnOptions) (*Owner, error) {
	return own(ctx, dir, o, false, nil)
}

// RebuildIndex makes a vault's index anew from its packs. Progress, which may
// be nil, is told the packs done and their number.
func RebuildIndex(ctx context.Context, dir string, o OwnOptions, progress func(packs, total int)) error {
	owner, err := own(ctx, dir, o, true, progress)
	if err != nil {
		return err
	}
	return owner.Close()
}

func own(ctx context.Context, dir string, o OwnOptions, rebuild bool, progress func(packs, total int)) (*Owner, error) {
	if o.Budget == nil {
		o.Budget = NewBudget(DefaultBudget)
	}
	if o.Event == nil {
		o.Event = func(string) {}
	}
	v, err := Open(ctx, dir, o.Options)
	if err != nil {
		return nil, err
	}
	var w *Owner
	err = unlessHung(ctx, v.dir, func(ctx context.Context) (err error) {
		w, err = v.own(ctx, o, rebuild, progress)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open vault %s for writing: %w", dir, err)
	}
	return w, nil
}

// own makes an owner of a vault, which it closes when that fails.
func (v *Vault) own(ctx context.Context, o OwnOptions, rebuild bool, progress func(packs, total int)) (*Owner, error) {
	if err := v.checkKnown(); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	c, err := v.claimVault(ctx, o)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	if err := v.makeKnown(); err != nil {
		v.warn(err.Error()) // the next time
	}
	o.Event("claimed")
	w := &Owner{Vault: v, opts: o, claim: c, spent: c.spent, running: map[string]bool{}, parents: map[PointID]bool{}, dropping: map[PointID]bool{}, dropTogether: dropTogether}
	v.keepsFree = w.floorOf
	w.freeMemory = limitMemory(ownerMemory + w.opts.Budget.size)
	err = w.prepare(ctx, rebuild, progress)
	if err == nil {
		err = v.dir.HangError() // then nobody waits for it any more
	}
	if err != nil {
		return nil, errors.Join(err, w.abandon())
	}
	return w, nil
}

// prepare brings the vault from wherever its last owner left it to where
// writing can go on.
func (o *Owner) prepare(ctx context.Context, rebuild bool, progress func(packs, total int)) error {
	if err := o.spaceToOpen(); err != nil {
		return err
	}
	unclean := !o.claim.clean
	if unclean {
		if err := o.dir.SyncAll(); err != nil {
			return err
		}
	}
	// What other processes wrote before this one had the lock is seen only now.
	if err := o.refresh(ctx); err != nil {
		return err
	}
	for _, name := range o.tables.Load().names {
		if n, _, ok := parseNumbered(path.Base(name)); ok {
			o.nextSeg = max(o.nextSeg, n)
		}
	}
	if unclean {
		if err := o.removeTemps(); err != nil {
			return err
		}
	}
	if err := o.healVault(); err != nil {
		return err
	}
	if err := o.forgetOldIDs(); err != nil {
		return err
	}
	// Before a segment is written, so that what the newest tells is known to
	// be a commit that was cut short.
	if _, err := o.putBack(ctx); err != nil {
		return err
	}
	if err := o.healMachines(ctx); err != nil {
		o.warn(err.Error()) // check goes on telling
	}
	present, err := o.findPacks()
	if err != nil {
		return err
	}
	if err := o.findVanished(present); err != nil {
		return err
	}
	if err := o.openIndexIfSafe(rebuild); err != nil {
		return err
	}
	if err := o.store.prepare(o, present); err != nil {
		return err
	}
	if err := o.loadDamage(ctx, present); err != nil {
		return err
	}
	if err := o.indexPacks(ctx, progress); err != nil {
		return err
	}
	if err := o.healSegments(); err != nil {
		return err
	}
	o.findLost()
	o.onDamage = o.noteDamage
	if err := o.rescue(ctx); err != nil {
		o.warn(err.Error()) // the next time; readers find what is there
	}
	if unclean {
		if err := o.finishDrops(); err != nil {
			return err
		}
	}
	if !o.opts.Reclaim {
		return o.keepReserve()
	}
	return nil
}

// findPacks lists the sealed packs of this writer.
func (o *Owner) findPacks() (map[pack.ID]bool, error) {
	present := map[pack.ID]bool{}
	err := o.eachPack(o.dir.List, func(w WriterID, id pack.ID) error {
		if w == o.claim.owner.Writer {
			present[id] = true
		}
		return nil
	})
	return present, err
}

// checkSpace returns ErrFull when less than the floor would stay free after
// need more bytes.
func (o *Owner) checkSpace(need int64) error {
	total := int64(0)
	if o.opts.MinFree == 0 {
		var err error
		if _, total, err = o.dir.Space(); err != nil {
			return err
		}
	}
	return o.dir.CheckSpace(o.floorOf(total), need)
}

// floorOf is how much stays free of a file system of total bytes.
func (o *Owner) floorOf(total int64) int64 {
	switch {
	case o.opts.MinFree != 0:
		return max(0, o.opts.MinFree)
	case o.Beside() != "":
		return 2 * backend.Floor(total)
	}
	return backend.Floor(total)
}

// Close seals what is open and gives the vault up. Backups must have ended. Of
// a vault that hangs, that happens when it answers again, and Close does not
// wait for it.
func (o *Owner) Close() error { return o.unlessHung(o.close) }

func (o *Owner) close() error {
	o.opts.Event("close")
	if err := o.inPlace(o.claim); err != nil {
		return errors.Join(err, o.leaveBehind())
	}
	err := o.store.sealOpen(o)
	o.committing.Lock()
	err = errors.Join(err, o.writeSegment(nil)) // for packs that wait for one
	o.committing.Unlock()
	if o.opts.Reclaim {
		if e := o.restoreReserve(); e != nil {
			o.warn(e.Error()) // only space is lost, and only when there is none
		}
	}
	defer o.freeMemory()
	clean := err == nil && !o.spoilt.Load()
	if e := o.index.Close(); e != nil {
		err, clean = errors.Join(err, e), false
	}
	return errors.Join(err, o.giveUp(o.claim, clean), o.Vault.Close())
}

// leaveBehind closes a vault that lies no more where it was opened, and writes nothing to where it did: the next
// owner finds it as after a kill.
func (o *Owner) leaveBehind() error {
	defer o.freeMemory()
	o.store.dropOpen()
	return errors.Join(o.index.Close(), o.giveUp(o.claim, false), o.Vault.Close())
}

// abandon closes what prepare opened before it failed.
func (o *Owner) abandon() error {
	defer o.freeMemory()
	var errs []error
	if o.opts.Reclaim {
		errs = append(errs, o.restoreReserve())
	}
	if o.index != nil {
		errs = append(errs, o.index.Close())
	}
	return errors.Join(append(errs, o.giveUp(o.claim, false), o.Vault.Close())...)
}
