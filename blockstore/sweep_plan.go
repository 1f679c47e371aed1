package blockstore

import (
	"cmp"
	"context"
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
func (s *sweep) weigh() {
	s.packs = map[pack.ID]*packUse{}
	for i, t := range s.set.tables {
		for j, p := range t.Packs {
			id := pack.ID(p.ID)
			if s.packs[id] == nil && s.present(id) {
				s.packs[id] = &packUse{Pack: p, id: id}
			}
			if u := s.packs[id]; u != nil {
				u.live += s.live.use[i][j].bytes
				u.named += s.live.use[i][j].records
			}
		}
	}
	s.report.Packs = len(s.packs)
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
		case s.opts.mend != nil && !s.opts.mend[u.id]:
		case s.opts.mend != nil && !s.pinned(u.id) && u.named > 0:
			rewrite = append(rewrite, u)
		case s.pinned(u.id):
			s.report.Pinned += u.Size
		case u.named == 0 && !s.opts.Now && s.young(u):
		case u.named == 0:
			dead = append(dead, u)
		case s.opts.Full && s.o.isTorn(u.id):
			rewrite = append(rewrite, u)
		case u.dead() > 0 && (s.opts.Full || u.share() < liveShare || healed[u.id]):
			rewrite = append(rewrite, u)
		case u.Size < int64(smallPack*float64(s.o.store.packBytes)):
			small[u.Class] = append(small[u.Class], u)
		default:
			s.report.Dead += u.dead()
		}
	}
	for _, packs := range small {
		joined := s.join(packs)
		rewrite = append(rewrite, packs[:joined]...)
		for _, u := range packs[joined:] {
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

// join sorts small packs of one class by size and returns how many of them are joined,
// the smallest first.
func (s *sweep) join(packs []*packUse) (n int) {
	if len(packs) < maxPerClass {
		return 0
	}
	slices.SortFunc(packs, func(a, b *packUse) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), slices.Compare(a.id[:], b.id[:]))
	})
	var all, copied int64
	for _, u := range s.packs {
		all += u.Size
	}
	most := max(int64(joinShare*float64(all)), s.o.store.packBytes)
	for _, u := range packs {
		if copied += u.live; copied > most && n > 1 {
			break
		}
		n++
	}
	return n
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

// fit returns how many of some packs can be rewritten together, so that they
// share new packs: about as many as fill one, and no more than the free space holds what
// is live in them, also where backups have to stop.
func (s *sweep) fit(packs []*packUse) (n int, err error) {
	const few, many, margin = 8, 256, 1 << 20
	free, total, err := s.o.dir.Space()
	if err != nil {
		return 0, err
	}
	need, live := min(margin, total/64), int64(0)
	for _, u := range packs[:min(many, len(packs))] {
		live += u.live
		if need += u.live + u.live/8; need > free || n >= few && live > s.o.store.packBytes {
			break
		}
		n++
	}
	return n, nil
}

// vanished returns packs that segments name and that do not count as being
// there: gone, or cut short. All that points name was found elsewhere, or there
// would be no sweep, so that nobody needs to look for them any more. Those that
// an earlier sweep told of are left out.
func (s *sweep) vanished() (packs []*packUse, err error) {
	told, err := s.o.removedBySweep()
	if err != nil {
		return nil, err
	}
	w := s.o.claim.owner.Writer
	seen := map[pack.ID]bool{}
	for _, t := range s.set.tables {
		for _, p := range t.Packs {
			id := pack.ID(p.ID)
			if !seen[id] && !s.present(id) && writerID(t.Writer) == w && !told[packPath(w, id)] {
				seen[id] = true
				packs = append(packs, &packUse{Pack: p, id: id})
			}
		}
	}
	return packs, nil
}
