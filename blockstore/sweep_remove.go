package blockstore

import (
	"context"
	"fmt"
)

// removeTogether is how many packs go at once, with one write of the index and one sync
// of each folder. Who holds the vault for copying waits for as many.
const removeTogether = 32

// removePacks removes packs, except those that a backup relies on, and those that hold
// something named that lies in no other pack that is there. It returns those that are
// gone.
func (s *sweep) removePacks(ctx context.Context, group []*packUse, lists *packLists) (gone []*packUse, err error) {
	err = s.o.removing(func() error {
		for _, u := range group {
			if s.giveUpPack(u, lists) {
				gone = append(gone, u)
			}
		}
		return s.removeNow(gone)
	})
	if err != nil {
		return nil, err
	}
	return gone, ctx.Err()
}

// giveUpPack takes a pack from what backups find, and from what serves other packs as
// their other copy, or finds in the same step that it is pinned. It tells whether it
// may go.
func (s *sweep) giveUpPack(u *packUse, lists *packLists) bool {
	if why := s.needed(u, lists); why != nil {
		s.o.warn(fmt.Sprintf("pack %s stays: %v", u.id, why))
		s.report.Damaged += u.Size
		return false
	}
	st := &s.o.store
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.swept[u.id] {
		s.report.Pinned += u.Size
		return false
	}
	delete(st.present, u.id)
	return true
}

// removeNow removes packs that were given up.
func (s *sweep) removeNow(packs []*packUse) error {
	if len(packs) == 0 {
		return nil
	}
	o := s.o
	var ids [][16]byte
	var names []string
	for _, u := range packs {
		ids = append(ids, u.id)
		names = append(names, packPath(o.claim.owner.Writer, u.id))
	}
	if err := o.index.ForgetPacks(ids...); err != nil {
		return err
	}
	o.opts.Event("sweep.forgotten")
	if err := o.dir.Remove(names...); err != nil {
		return err
	}
	o.opts.Event("sweep.removed")
	for _, u := range packs {
		o.files.forget(u.id)
		if err := o.removeNotes(u.id); err != nil {
			return err
		}
		s.report.Removed++
		s.report.Freed += u.Size
	}
	return nil
}
