package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
	"github.com/holdfast-backup/holdfast/blockstore/segment"
)

// tellRemoval writes a segment that tells which packs are about to go, or went without a
// word, and makes findable what was copied out of them.
func (s *sweep) tellRemoval(packs []*packUse) error {
	told := make([]segment.Point, 0, len(packs))
	tell := func(u *packUse) {
		told = append(told, segment.Point{Event: segment.Removed, Path: packPath(s.o.claim.owner.Writer, u.id)})
	}
	for _, u := range packs {
		tell(u)
	}
	for _, u := range s.untold {
		if !s.present(u.id) {
			tell(u)
		}
	}
	s.o.committing.Lock()
	defer s.o.committing.Unlock()
	if err := s.o.writeSegment(told); err != nil {
		return err
	}
	s.untold = nil
	return nil
}

// stayed lets the next segment name those packs again that were told to be removed
// and are there still: what points find in them from now on is missed if they are lost.
// One whose own list lacks what segments say of it is not told of by that list.
func (s *sweep) stayed(packs []*packUse, lists *packLists) {
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, u := range packs {
		if st.present[u.id] && lists.errs[u.id] == nil && len(lists.entries[u.id]) >= int(u.Records) {
			st.addUnnamed(newSealed(u.id, u.Size, lists.entries[u.id]))
		}
	}
}

// rewrite copies what is live in some packs into new ones, makes those durable
// and findable, and removes the old ones.
func (s *sweep) rewrite(ctx context.Context, group []*packUse) error {
	// A backup that is never committed: what it counts on is sealed by seal.
	b := &Backup{o: s.o, counts: map[*openPack]bool{}, sweeps: true}
	defer s.o.store.unpin(b)
	lists, err := s.readLists(group)
	if err != nil {
		return err
	}
	var copied []*packUse
	for _, u := range group {
		began := time.Now()
		n, err := s.copyLive(ctx, u, lists, b)
		s.giveWay(ctx, began)
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
	defer s.stayed(copied, lists)
	if err := s.tellRemoval(copied); err != nil {
		return err
	}
	s.o.opts.Event("sweep.copied")
	if lists, err = s.readLists(copied); err != nil { // again: before a pack goes, it is asked
		return err
	}
	for _, u := range copied {
		s.report.Freed -= u.live
	}
	for together := range slices.Chunk(copied, s.o.store.together) {
		began := time.Now()
		gone, err := s.removePacks(ctx, together, lists)
		if err != nil {
			return err
		}
		s.report.Rewritten += len(gone)
		s.giveWay(ctx, began)
	}
	return ctx.Err()
}

// copyLive appends the marked records of a pack to the open ones, each after
// its hash matched.
func (s *sweep) copyLive(ctx context.Context, u *packUse, lists *packLists, b *Backup) (copied int64, err error) {
	if err := lists.errs[u.id]; err != nil {
		return 0, err
	}
	f, err := s.o.dir.Open(packPath(s.o.claim.owner.Writer, u.id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	opener := s.o.opener(u.id)
	if s.plain == nil {
		s.plain = make([]byte, pack.MaxContent)
	}
	for _, e := range lists.entries[u.id] {
		if err := ctx.Err(); err != nil {
			return copied, err
		}
		if in, live := lists.kept[e.ID]; !live || in != u.id {
			continue
		}
		rec := slices.Grow(s.rec[:0], int(e.Length))[:e.Length]
		s.rec = rec
		if _, err := f.ReadAt(rec, int64(e.Offset)); err != nil {
			return copied, err
		}
		kind, n, err := pack.Describe(rec)
		if err != nil {
			s.o.confirm(place{s.o.claim.owner.Writer, u.id, e.Location}, e.Kind, e.ID)
			return copied, err
		}
		if err := opener.Decode(kind, e.ID, rec, s.plain[:n]); err != nil {
			s.o.confirm(place{s.o.claim.owner.Writer, u.id, e.Location}, e.Kind, e.ID)
			return copied, fmt.Errorf("%v %s: %w", kind, e.ID.Short(), err)
		}
		if s.moved, err = opener.Unseal(s.moved, rec); err != nil {
			return copied, err
		}
		n64, err := s.o.put(kind, e.ID, s.moved, b)
		copied += n64
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
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
