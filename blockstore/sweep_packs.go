package blockstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// packUse is what is known of a pack when all is marked.
type packUse struct {
	segment.Pack
	id    pack.ID
	live  int64 // bytes of records that are marked here
	named int   // their number
}

func (p *packUse) share() float64 { return float64(p.live) / float64(p.Size) }

// dead is the bytes of records that nothing names.
func (p *packUse) dead() int64 {
	if p.named == int(p.Records) {
		return 0 // what is not live is how the pack is written
	}
	return p.Size - p.live
}

// weigh adds up what is live in each pack.
func (s *sweep) weigh(ctx context.Context) error {
	s.packs = map[pack.ID]*packUse{}
	for i, t := range s.set.tables {
		uses := make([]*packUse, len(t.Packs))
		for j, p := range t.Packs {
			id := pack.ID(p.ID)
			if s.packs[id] == nil && s.present(id) {
				s.packs[id] = &packUse{Pack: p, id: id}
			}
			uses[j] = s.packs[id]
		}
		for at := range t.Count {
			if !s.live.marked(i, at) {
				continue
			}
			e, err := t.Entry(at)
			if err != nil {
				return err
			}
			if u := uses[e.Pack]; u != nil {
				u.live += int64(e.Length)
				u.named++
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	s.report.Packs = len(s.packs)
	return nil
}

// healed returns the packs that hold damaged records none of which is kept: all
// of them lie elsewhere, and the rest can be copied away.
func (s *sweep) healed() map[pack.ID]bool {
	packs := map[pack.ID]bool{}
	for id, notes := range s.live.noted.inPacks() {
		packs[id] = !slices.ContainsFunc(notes, func(n *DamageNote) bool { return s.keptIn(n.ID, id) })
	}
	return packs
}

// plan sorts packs into those that go as they are, and those that go after
// what is live in them was copied, least live first.
func (s *sweep) plan() (dead, rewrite []*packUse) {
	small, healed := map[uint8][]*packUse{}, s.healed()
	for _, u := range s.packs {
		switch {
		case s.pinned(u.id):
			s.report.Pinned += u.Size
		case u.named == 0 && !s.opts.Now && s.young(u):
		case u.named == 0:
			dead = append(dead, u)
		case u.dead() > 0 && (s.opts.Full || u.share() < liveShare || healed[u.id]):
			rewrite = append(rewrite, u)
		case u.Size < int64(smallPack*float64(s.o.store.packBytes)):
			small[u.Class] = append(small[u.Class], u)
		default:
			s.report.Dead += u.dead()
		}
	}
	for _, packs := range small {
		if len(packs) >= maxPerClass {
			rewrite = append(rewrite, packs...)
			continue
		}
		for _, u := range packs {
			s.report.Dead += u.dead()
		}
	}
	order := func(a, b *packUse) int {
		return cmp.Or(cmp.Compare(a.share(), b.share()), slices.Compare(a.id[:], b.id[:]))
	}
	slices.SortFunc(dead, order)
	slices.SortFunc(rewrite, order)
	return dead, rewrite
}

func (s *sweep) pinned(id pack.ID) bool {
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.swept[id]
}

// young tells whether a pack was sealed less than seven days ago, and reports
// it then. One that does not say counts as young.
func (s *sweep) young(u *packUse) bool {
	until := s.now.Add(keepUnnamed)
	f, err := s.o.dir.Open(packPath(s.o.claim.owner.Writer, u.id))
	if err == nil {
		defer f.Close()
		if h, err := pack.ReadHeader(f); err == nil {
			until = h.Created.Add(keepUnnamed)
		}
	}
	if !s.now.Before(until) {
		return false
	}
	s.report.Young += u.Size
	if until.After(s.report.YoungUntil) {
		s.report.YoungUntil = until
	}
	return true
}

// forecast fills in what a run would do.
func (s *sweep) forecast(ctx context.Context) error {
	trash, err := s.o.Trash(ctx)
	if err != nil {
		return err
	}
	s.due = map[PointID]bool{}
	for _, p := range trash {
		attrs, err := s.o.Attributes(p)
		if err != nil {
			return err
		}
		if s.o.due(p, attrs, s.early(p), s.now) {
			s.due[p.ID] = true
			s.report.Dropped = append(s.report.Dropped, p)
		}
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	defer s.releasePins()
	dead, rewrite := s.plan()
	for _, u := range dead {
		s.report.Freed += u.Size
	}
	for _, u := range rewrite {
		s.report.Freed += u.Size - u.live
		s.report.Copied += u.live
		s.report.Rewritten++
	}
	s.report.Removed = len(dead) + s.report.Rewritten
	return nil
}

// remove removes packs: first those with nothing live, then, a few at a time,
// those whose live records were copied.
func (s *sweep) remove(ctx context.Context) error {
	dead, rewrite := s.plan()
	total := int64(0)
	for _, u := range slices.Concat(dead, rewrite) {
		total += u.Size
	}
	done := int64(0)
	step := func(u *packUse) { done += u.Size; s.opts.Progress(done, total) }
	vanished := s.vanished()
	// Where there is no room to tell, there is when they are gone. An end in
	// between only makes the next owner look for what nobody names.
	untold := s.tellRemoval(slices.Concat(dead, vanished))
	if untold != nil && !errors.Is(untold, ErrFull) {
		return untold
	}
	for _, u := range vanished {
		if err := s.o.dir.Remove(packPath(s.o.claim.owner.Writer, u.id)); err != nil {
			return err
		}
	}
	for _, u := range dead {
		if err := s.removePack(ctx, u); err != nil {
			return err
		}
		step(u)
	}
	if untold != nil {
		if err := s.tellRemoval(slices.Concat(dead, vanished)); err != nil {
			return err
		}
	}
	for len(rewrite) > 0 {
		n, err := s.fit(rewrite)
		if err != nil {
			return err
		}
		if n == 0 {
			for _, u := range rewrite {
				s.report.NoRoom += u.dead()
			}
			break
		}
		if err := s.rewrite(ctx, rewrite[:n]); err != nil {
			return err
		}
		for _, u := range rewrite[:n] {
			step(u)
		}
		rewrite = rewrite[n:]
	}
	s.o.committing.Lock()
	defer s.o.committing.Unlock()
	return s.o.forgetGone(ctx)
}

// fit returns how many of some packs can be rewritten together, so that they
// share new packs: as many as the free space holds what is live in them, also where
// backups have to stop.
func (s *sweep) fit(packs []*packUse) (n int, err error) {
	const together, margin = 8, 1 << 20
	free, total, err := s.o.dir.Space()
	if err != nil {
		return 0, err
	}
	need := min(margin, total/64)
	for _, u := range packs[:min(together, len(packs))] {
		if need += u.live + u.live/8; need > free {
			break
		}
		n++
	}
	return n, nil
}

// vanished returns packs that segments name and that do not count as being
// there: gone, or cut short. All that points name was found elsewhere, or there
// would be no sweep, so that nobody needs to look for them any more.
func (s *sweep) vanished() (packs []*packUse) {
	seen := map[pack.ID]bool{}
	for _, t := range s.set.tables {
		for _, p := range t.Packs {
			if id := pack.ID(p.ID); !seen[id] && !s.present(id) && writerID(t.Writer) == s.o.claim.owner.Writer {
				seen[id] = true
				packs = append(packs, &packUse{Pack: p, id: id})
			}
		}
	}
	return packs
}

// tellRemoval writes a segment that tells which packs are about to go, and makes
// findable what was copied out of them.
func (s *sweep) tellRemoval(packs []*packUse) error {
	told := make([]segment.Point, 0, len(packs))
	for _, u := range packs {
		told = append(told, segment.Point{Event: segment.Removed, Path: packPath(s.o.claim.owner.Writer, u.id)})
	}
	s.o.committing.Lock()
	defer s.o.committing.Unlock()
	return s.o.writeSegment(told)
}

// rewrite copies what is live in some packs into new ones, makes those durable
// and findable, and removes the old ones.
func (s *sweep) rewrite(ctx context.Context, group []*packUse) error {
	// A backup that is never committed: what it counts on is sealed by seal.
	b := &Backup{o: s.o, counts: map[*openPack]bool{}, sweeps: true}
	defer s.o.store.unpin(b)
	var copied []*packUse
	for _, u := range group {
		n, err := s.copyLive(ctx, u, b)
		s.report.Copied += n
		if err := ctx.Err(); err != nil {
			return err
		}
		if errors.Is(err, ErrFull) {
			return err
		}
		if err != nil {
			s.o.warn(fmt.Sprintf("pack %s stays: %v", u.id, err))
			s.report.Damaged += u.Size
			continue
		}
		copied = append(copied, u)
	}
	if err := b.seal(); err != nil {
		return err
	}
	if err := s.tellRemoval(copied); err != nil {
		return err
	}
	s.o.opts.Event("sweep.copied")
	for _, u := range copied {
		if err := s.removePack(ctx, u); err != nil {
			return err
		}
		s.report.Rewritten++
		s.report.Freed -= u.live
	}
	return ctx.Err()
}

// copyLive appends the marked records of a pack to the open ones, each after
// its hash matched.
func (s *sweep) copyLive(ctx context.Context, u *packUse, b *Backup) (copied int64, err error) {
	f, entries, err := s.openPack(u)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	opener := s.o.opener(u.id)
	rec, plain := make([]byte, 0, pack.MaxContent), make([]byte, pack.MaxContent)
	var moved []byte // the record without its seal: it gets that of its new place
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return copied, err
		}
		if !s.keptIn(e.ID, u.id) {
			continue
		}
		rec = slices.Grow(rec[:0], int(e.Length))[:e.Length]
		if _, err := f.ReadAt(rec, int64(e.Offset)); err != nil {
			return copied, err
		}
		kind, n, err := pack.Describe(rec)
		if err != nil {
			s.o.confirm(place{s.o.claim.owner.Writer, u.id, e.Location}, e.Kind, e.ID)
			return copied, err
		}
		if err := opener.Decode(kind, e.ID, rec, plain[:n]); err != nil {
			s.o.confirm(place{s.o.claim.owner.Writer, u.id, e.Location}, e.Kind, e.ID)
			return copied, fmt.Errorf("%v %s: %w", kind, e.ID.Short(), err)
		}
		if moved, err = opener.Unseal(moved, rec); err != nil {
			return copied, err
		}
		n64, err := s.o.put(kind, e.ID, moved, b)
		copied += n64
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
}

func (s *sweep) openPack(u *packUse) (*os.File, []pack.Entry, error) {
	w := s.o.claim.owner.Writer
	entries, _, err := s.o.packEntries(w, u.id)
	if err != nil {
		return nil, nil, err
	}
	f, err := s.o.dir.Open(packPath(w, u.id))
	return f, entries, err
}

// keptIn tells whether the copy of id that is marked lies in a pack.
func (s *sweep) keptIn(id ID, in pack.ID) bool {
	for i, t := range s.set.tables {
		first, after, err := t.Find(id)
		if err != nil {
			return true
		}
		for at := first; at < after; at++ {
			e, err := t.Entry(at)
			if err != nil {
				return true
			}
			if s.live.marked(i, at) {
				return t.Packs[e.Pack].ID == in
			}
		}
	}
	return false
}

// removePack removes a pack, if no backup relies on it and everything named
// that it holds lies in another pack that is there. In one step it is taken
// from what backups find, or found to be pinned.
func (s *sweep) removePack(ctx context.Context, u *packUse) error {
	return s.o.removing(func() error { return s.removeNow(ctx, u) })
}

func (s *sweep) removeNow(ctx context.Context, u *packUse) error {
	o := s.o
	if why := s.needed(u); why != nil {
		o.warn(fmt.Sprintf("pack %s stays: %v", u.id, why))
		s.report.Damaged += u.Size
		return nil
	}
	st := &o.store
	st.mu.Lock()
	if st.swept[u.id] {
		st.mu.Unlock()
		s.report.Pinned += u.Size
		return nil
	}
	delete(st.present, u.id)
	st.mu.Unlock()
	if err := o.index.ForgetPack(u.id); err != nil {
		return err
	}
	o.opts.Event("sweep.forgotten")
	if err := o.dir.Remove(packPath(o.claim.owner.Writer, u.id)); err != nil {
		return err
	}
	o.opts.Event("sweep.removed")
	o.files.forget(u.id)
	if err := o.removeNotes(u.id); err != nil {
		return err
	}
	s.report.Removed++
	s.report.Freed += u.Size
	return ctx.Err()
}

// needed returns why a pack has to stay: its own list of records is read, and
// each that is marked must be found in another pack that is there.
func (s *sweep) needed(u *packUse) error {
	f, entries, err := s.openPack(u)
	if err != nil {
		return err
	}
	f.Close()
	for _, e := range entries {
		if !s.isLive(e.ID) {
			continue
		}
		if !s.elsewhere(e, u.id) {
			return fmt.Errorf("%v %s is whole in no other pack", e.Kind, e.ID.Short())
		}
	}
	return nil
}

func (s *sweep) isLive(id ID) bool {
	for i, t := range s.set.tables {
		first, after, err := t.Find(id)
		if err != nil {
			return true
		}
		for at := first; at < after; at++ {
			if s.live.marked(i, at) {
				return true
			}
		}
	}
	return false
}

// elsewhere tells whether a record lies in a pack that is there, other than
// one, and is whole there. What this sweep copied was compared when it was; a
// copy that was there before is read.
func (s *sweep) elsewhere(e pack.Entry, not pack.ID) bool {
	found := false
	err := s.o.tables.Load().find(e.ID, func(p place) bool {
		if p.pack == not || !s.present(p.pack) || s.o.damage.isNoted(e.ID, p.pack) {
			return false
		}
		found = s.packs[p.pack] == nil || s.o.confirm(p, e.Kind, e.ID) == nil
		return found
	})
	return err == nil && found
}

// forgetGone merges all segments when more than a quarter of what they list
// lies in packs that are gone. The caller holds committing.
func (o *Owner) forgetGone(ctx context.Context) error {
	tables := o.tables.Load().tables
	var all, gone int64
	o.store.mu.Lock()
	for _, t := range tables {
		for _, p := range t.Packs {
			all += int64(p.Records)
			if !o.store.present[pack.ID(p.ID)] {
				gone += int64(p.Records)
			}
		}
	}
	o.store.mu.Unlock()
	if gone*4 <= all || len(tables) == 0 {
		return o.mergeSegments(ctx)
	}
	var size int64
	for _, t := range tables {
		size += t.Bytes()
	}
	if err := o.dir.CheckSpace(0, size); errors.Is(err, ErrFull) {
		return nil // the next sweep has room for it
	}
	if err := o.merge(tables); !errors.Is(err, ErrHeld) {
		return err
	}
	return nil
}
