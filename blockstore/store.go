package blockstore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/index"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

const (
	maxPackBytes   = 64 << 20
	minPackBytes   = 1 << 20
	maxPackRecords = 1 << 16
	// maxSealing is how many packs are synced at once; who fills another waits.
	maxSealing = 3
	// maxUnnamed is how many records lie in packs that no segment names, until
	// one is written for them in the middle of a backup: 11 MiB of memory.
	maxUnnamed = 256 << 10
)

// store holds the packs of a vault that are being written. Packs belong to the
// vault, not to a backup: backups of several machines fill the same one, and
// what a backup that failed has stored stays.
//
// Lock order: Owner.committing, then mu.
type store struct {
	packBytes int64 // size at which a pack is sealed
	together  int   // packs that a sweep removes at once

	mu      sync.Mutex
	open    [3]*openPack     // index: pack.Class; nil: none yet
	known   map[ID]*openPack // what lies in packs that are not in the index yet
	present map[pack.ID]bool // packs that are sealed, in the index and there
	unnamed []sealedPack     // sealed packs that no segment names yet
	waiting int              // records in unnamed
	sealing chan struct{}    // a place for each pack that is being sealed
	sealers sync.WaitGroup   // the goroutines that seal
	pins    map[*Backup]pins // of the backups that are running
	swept   pins             // all that was pinned at or after the start of the sweep that runs; nil: none runs
}

// openPack is a pack from its creation until its entries are in the index.
type openPack struct {
	w     *pack.Writer
	file  *backend.File
	class pack.Class
	// appends are those that chose this pack and are not done; sealing waits
	// for them. Added to under store.mu while the pack is open.
	appends sync.WaitGroup
	// done is closed when the pack is durable and indexed, or is abandoned;
	// err tells which, and is not read before.
	done chan struct{}
	err  error
}

// sealedPack is a durable pack and what it holds.
type sealedPack struct {
	segment.Pack
	entries []pack.Entry
}

// prepare readies the store with the packs that are there.
func (s *store) prepare(o *Owner, present map[pack.ID]bool) error {
	_, total, err := o.dir.Space()
	if err != nil {
		return err
	}
	s.packBytes = min(max(total/64, minPackBytes), maxPackBytes)
	s.together = removeTogether
	s.known = map[ID]*openPack{}
	s.pins = map[*Backup]pins{}
	s.present = present
	s.sealing = make(chan struct{}, maxSealing)
	return nil
}

// find tells whether the content of id is stored or being stored, and makes b
// count on the pack if that is not durable yet.
func (o *Owner) find(id ID, b *Backup) (bool, error) {
	s := &o.store
	s.mu.Lock()
	if p := s.known[id]; p != nil {
		s.countOn(b, p)
		s.mu.Unlock()
		return true, nil
	}
	s.mu.Unlock()
	place, ok, err := o.index.Get(id)
	if err != nil || !ok {
		return false, err
	}
	if o.damage.isNoted(id, place.Pack) {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.present[place.Pack] {
		return false, nil
	}
	s.pin(b, place.Pack)
	return true, nil
}

// pins are packs that a backup relies on: they are neither removed nor
// rewritten. Which of their records it relies on is not noted.
type pins map[pack.ID]bool

// pin notes that b relies on a pack, in the same step in which it was found to
// be there. The caller holds mu.
func (s *store) pin(b *Backup, id pack.ID) {
	if s.pins[b] == nil {
		s.pins[b] = pins{}
	}
	s.pins[b][id] = true
	if s.swept != nil {
		s.swept[id] = true
	}
}

// countOn notes that b needs a pack that is not durable yet, or was not a moment
// ago. The caller holds mu.
func (s *store) countOn(b *Backup, p *openPack) {
	s.pin(b, p.w.ID())
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[p] = true
}

// unpin forgets what a backup relied on. What a sweep that runs has to leave
// alone stays.
func (s *store) unpin(b *Backup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pins, b)
}

// put stores a record of id for b, unless another backup did meanwhile.
// It returns the bytes that it added.
func (o *Owner) put(kind content.Kind, id ID, rec []byte, b *Backup) (int64, error) {
	p, err := o.choosePack(pack.ClassOf(kind), id, b)
	if err != nil || p == nil {
		return 0, err
	}
	_, err = p.w.Append(rec)
	p.appends.Done()
	if err != nil {
		o.seal(p) // which abandons it
		<-p.done  // so that a backup that is tried again at once does not count on it
		return 0, err
	}
	b.noteHealed(id)
	if bytes, records := p.w.Size(); bytes >= o.store.packBytes || records >= maxPackRecords {
		o.seal(p)
	}
	return int64(len(rec)), nil
}

// choosePack returns the open pack to append to, with one append announced, or
// nil when the content is there already.
func (o *Owner) choosePack(class pack.Class, id ID, b *Backup) (*openPack, error) {
	s := &o.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.known[id]; p != nil {
		s.countOn(b, p)
		return nil, nil
	}
	p := s.open[class]
	if p == nil {
		var err error
		if p, err = o.newPack(class, b.sweeps); err != nil {
			return nil, err
		}
		s.open[class] = p
	}
	s.known[id] = p
	s.countOn(b, p)
	p.appends.Add(1)
	return p, nil
}

// newPack begins a pack, in the space below the floor, too, when that makes
// room in the end. The caller holds store.mu.
func (o *Owner) newPack(class pack.Class, makesRoom bool) (*openPack, error) {
	if !makesRoom {
		if err := o.checkSpace(o.store.packBytes); err != nil {
			return nil, err
		}
	}
	h := pack.Header{Writer: o.claim.owner.Writer.bytes(), Class: class, Seal: o.packSeal(), Created: time.Now(), VaultName: o.name, Vault: o.raw}
	id, err := pack.ParseID(randomHex(16))
	if err != nil {
		return nil, err
	}
	h.ID = id
	f, err := o.dir.Create(packPath(o.claim.owner.Writer, id))
	if err != nil {
		return nil, fmt.Errorf("create pack: %w", err)
	}
	w, err := pack.NewWriter(f, h, o.keys)
	if err != nil {
		f.Abort()
		return nil, err
	}
	return &openPack{w: w, file: f, class: class, done: make(chan struct{})}, nil
}

// seal closes a pack to further records and makes it durable in the
// background. Calling it again does nothing.
func (o *Owner) seal(p *openPack) {
	s := &o.store
	s.mu.Lock()
	if s.open[p.class] != p {
		s.mu.Unlock()
		return
	}
	s.open[p.class] = nil
	s.sealers.Add(1)
	s.mu.Unlock()
	s.sealing <- struct{}{}
	go func() {
		defer s.sealers.Done()
		defer func() { <-s.sealing }()
		sealed, err := o.makeDurable(p)
		o.sealed(p, sealed, err)
	}()
}

// makeDurable writes and syncs a pack, and enters it into the index.
func (o *Owner) makeDurable(p *openPack) (sealedPack, error) {
	defer p.file.Abort()
	p.appends.Wait()
	entries, size, err := p.w.Seal()
	if err != nil {
		return sealedPack{}, err
	}
	o.opts.Event("pack.written")
	if err := o.stillOwner(o.claim); err != nil { // a copy that lies there may have a part of this file
		return sealedPack{}, err
	}
	if err := p.file.Commit(); err != nil {
		// It may be there, and gone after a power loss: nobody is to rely on it.
		err = errors.Join(err, o.dir.Remove(p.file.Name()))
		return sealedPack{}, fmt.Errorf("seal pack %s: %w", p.w.ID(), err)
	}
	o.opts.Event("pack.sealed")
	if err := o.checkIndexRoom(); err != nil {
		return sealedPack{}, err // the next owner enters it
	}
	if err := o.index.AddPack(p.w.ID(), indexEntries(entries)); err != nil {
		return sealedPack{}, err
	}
	o.opts.Event("pack.indexed")
	return newSealed(p.w.ID(), size, entries), nil
}

func newSealed(id pack.ID, size int64, entries []pack.Entry) sealedPack {
	class := pack.Blocks
	if len(entries) > 0 {
		class = pack.ClassOf(entries[0].Kind)
	}
	return sealedPack{segment.Pack{ID: id, Size: size, Records: uint32(len(entries)), Class: uint8(class)}, entries}
}

func indexEntries(entries []pack.Entry) []index.Entry {
	list := make([]index.Entry, len(entries))
	for i, e := range entries {
		list[i] = index.Entry{ID: e.ID, Offset: e.Offset, Length: e.Length}
	}
	// Sorted keys are cheaper to insert.
	slices.SortFunc(list, func(a, b index.Entry) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return list
}

// sealed notes the outcome of sealing. The content of a pack that failed is not
// known any more, and every backup that counted on it fails.
func (o *Owner) sealed(p *openPack, sealed sealedPack, err error) {
	s := &o.store
	s.mu.Lock()
	if err == nil {
		for _, e := range sealed.entries {
			if s.known[e.ID] == p {
				delete(s.known, e.ID)
			}
		}
		s.present[p.w.ID()] = true
		s.addUnnamed(sealed)
	} else {
		o.spoilt.Store(true)
		for id, q := range s.known {
			if q == p {
				delete(s.known, id)
			}
		}
	}
	crowded := s.waiting > maxUnnamed
	s.mu.Unlock()
	if err == nil {
		o.damage.stored(sealed.entries)
	}
	p.err = err
	close(p.done)
	if crowded {
		o.nameSealed()
	}
}

// nameSealed writes a segment for packs that wait for one, so that a long
// backup does not keep all that it stored in memory until its end.
func (o *Owner) nameSealed() {
	o.committing.Lock()
	defer o.committing.Unlock()
	if err := o.writeSegment(nil); err != nil {
		o.warn(err.Error()) // they wait for the next, whose failure a backup returns
	}
}

// addUnnamed notes a pack for the next segment. The caller holds mu.
func (s *store) addUnnamed(p sealedPack) {
	s.unnamed = append(s.unnamed, p)
	s.waiting += len(p.entries)
}

// sealOpen seals every open pack and waits for all that are being sealed.
func (s *store) sealOpen(o *Owner) error {
	s.mu.Lock()
	open := s.open
	s.mu.Unlock()
	var errs []error
	for _, p := range open {
		if p != nil {
			o.seal(p)
			<-p.done
			errs = append(errs, p.err)
		}
	}
	s.sealers.Wait()
	return errors.Join(errs...)
}

// dropOpen gives up every open pack, which nobody counts on any more, and waits for those that are being sealed.
func (s *store) dropOpen() {
	s.mu.Lock()
	open := s.open
	s.open = [3]*openPack{}
	s.mu.Unlock()
	for _, p := range open {
		if p != nil {
			p.file.Abort()
		}
	}
	s.sealers.Wait()
}
