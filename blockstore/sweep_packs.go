package blockstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

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
	vanished, err := s.vanished()
	if err != nil {
		return err
	}
	if err := s.tell(vanished); err != nil {
		return err
	}
	for _, u := range vanished {
		if err := s.o.dir.Remove(packPath(s.o.claim.owner.Writer, u.id)); err != nil {
			return err
		}
	}
	for left := dead; len(left) > 0; {
		n := listedTogether(left)
		if err := s.removeListed(ctx, left[:n], step); err != nil {
			return err
		}
		left = left[n:]
	}
	if len(s.untold) > 0 {
		if err := s.tellRemoval(nil); err != nil {
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

// tell tells that packs are about to go. Where there is no room for that, there is when
// they are gone: the next time tells of them, too. An end in between only makes the
// next owner look for what nobody names.
func (s *sweep) tell(packs []*packUse) error {
	err := s.tellRemoval(packs)
	if errors.Is(err, ErrFull) {
		s.untold = append(s.untold, packs...)
		return nil
	}
	return err
}

// removeListed removes packs with nothing live, after their lists were read
// together, and calls step after each.
func (s *sweep) removeListed(ctx context.Context, packs []*packUse, step func(*packUse)) error {
	began := time.Now()
	lists, err := s.readLists(packs)
	if err != nil {
		return err
	}
	defer s.stayed(packs, lists)
	if err := s.tell(packs); err != nil {
		return err
	}
	s.giveWay(ctx, began)
	for group := range slices.Chunk(packs, s.o.store.together) {
		began := time.Now()
		if _, err := s.removePacks(ctx, group, lists); err != nil {
			return err
		}
		for _, u := range group {
			step(u)
		}
		s.giveWay(ctx, began)
	}
	return nil
}

// needed returns why a pack has to stay: each record of its own list that is
// marked must be found in another pack that is there. A list that lacks what
// segments say of the pack is not believed.
func (s *sweep) needed(u *packUse, lists *packLists) error {
	if err := lists.errs[u.id]; err != nil {
		return err
	}
	named := map[ID]bool{}
	for _, e := range lists.entries[u.id] {
		kept, live := lists.kept[e.ID]
		if !live {
			continue
		}
		if kept == u.id {
			named[e.ID] = true
		}
		if !s.elsewhere(e, u.id) {
			return fmt.Errorf("%v %s is whole in no other pack", e.Kind, e.ID.Short())
		}
	}
	if len(named) < u.named {
		return fmt.Errorf("points name %d records of it, and only %d can be found in it", u.named, len(named))
	}
	return nil
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
