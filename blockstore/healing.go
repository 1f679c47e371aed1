package blockstore

import (
	"context"
	"fmt"
	"maps"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// damage is what an owner knows of damaged records. Its lock is the innermost:
// nothing else is taken while it is held.
type damage struct {
	mu    sync.Mutex
	notes noted
	// lost are IDs that are noted and of which no other copy is known. A backup
	// that meets one stores it again, and does not take it over from its parent.
	lost  map[ID]bool
	count atomic.Int64 // of lost, so that an undamaged vault pays nothing
	// doubt is set while packs are gone that sweep did not remove: whether the
	// content of an ID is still there is looked up each time. Set before the
	// owner is used.
	doubt func(ID) (good bool)
}

// isNoted tells whether a pack's copy of id is damaged.
func (d *damage) isNoted(id ID, in pack.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notes.has(id, in)
}

// isLost tells whether no good copy of id is known.
func (d *damage) isLost(id ID) bool {
	if d.doubt != nil && !id.IsZero() && !d.doubt(id) {
		return true
	}
	if d.count.Load() == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost[id]
}

// any tells whether anything is lost.
func (d *damage) any() bool { return d.count.Load() > 0 || d.doubt != nil }

// stored notes that good copies of what a pack holds are durable.
func (d *damage) stored(entries []pack.Entry) {
	if !d.any() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range entries {
		delete(d.lost, e.ID)
	}
	d.count.Store(int64(len(d.lost)))
}

// add notes a record; it returns false when it was noted already.
func (d *damage) add(n *DamageNote) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.notes.has(n.ID, n.Pack) {
		return false
	}
	d.notes.add(n)
	return true
}

func (d *damage) setLost(id ID, lost bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if lost {
		d.lost[id] = true
	} else {
		delete(d.lost, id)
	}
	d.count.Store(int64(len(d.lost)))
}

// snapshot returns a copy of the notes.
func (d *damage) snapshot() noted {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := noted{}
	for id, notes := range d.notes {
		n[id] = maps.Clone(notes)
	}
	return n
}

// loadDamage reads the notes, before the index is brought up to date: what is noted
// does not enter it. Notes about packs that are gone are removed.
func (o *Owner) loadDamage(ctx context.Context, present map[pack.ID]bool) error {
	notes, unread, err := o.damageNotes(ctx)
	if err != nil {
		return err
	}
	for p := range notes.inPacks() {
		if !present[p] {
			if err := o.removeNotes(p); err != nil {
				return err
			}
		}
	}
	o.damage.notes, o.damage.lost = noted{}, map[ID]bool{}
	for p, notes := range notes.inPacks() {
		for _, n := range notes {
			if present[p] {
				o.damage.add(n)
			}
		}
	}
	for p, why := range unread {
		if err := o.noteAgain(p, why, present); err != nil {
			return err
		}
	}
	return nil
}

// noteAgain reads the record that a damaged note is about, notes it again if it
// is damaged, and removes the old note.
func (o *Owner) noteAgain(p string, why error, present map[pack.ID]bool) error {
	ordinal, _, _ := parseNumbered(path.Base(p))
	id, err := pack.ParseID(path.Base(path.Dir(p)))
	if err == nil && present[id] {
		w := o.claim.owner.Writer
		if e, ok := o.recordAt(w, id, ordinal); ok {
			o.confirm(place{w, id, e.Location}, e.Kind, e.ID)
		}
	}
	o.warn(fmt.Sprintf("%v; the record that it is about was read again", why))
	return o.dir.Remove(p)
}

// findLost finds out which of the noted IDs no other pack holds, once the index
// is up to date.
func (o *Owner) findLost() {
	for id := range o.damage.snapshot() {
		o.damage.setLost(id, !o.hasGoodCopy(id))
	}
}

// hasGoodCopy tells whether a pack that is there holds id, as far as no note
// says otherwise.
func (o *Owner) hasGoodCopy(id ID) bool {
	good := func(p pack.ID) bool {
		o.store.mu.Lock()
		defer o.store.mu.Unlock()
		return o.store.present[p]
	}
	if p, ok, err := o.index.Get(id); err == nil && ok && good(p.Pack) && !o.damage.isNoted(id, p.Pack) {
		return true
	}
	found := false
	err := o.tables.Load().find(id, func(p place) bool {
		found = good(p.pack) && !o.damage.isNoted(id, p.pack)
		return found
	})
	return err == nil && found
}

// confirm reads a record, the second time past the page cache, and notes it if
// it is damaged both times. It returns what is wrong with it.
func (o *Owner) confirm(p place, kind content.Kind, id ID) error {
	err := o.readPlace(p, func(op *pack.Opener, rec []byte) error { return decodes(op, kind, id, rec) })
	if err != nil && isDamage(err) {
		o.noteDamage(p, kind, id, err)
	}
	return err
}

// decodes tells whether a record holds the content of id.
func decodes(op *pack.Opener, kind content.Kind, id ID, rec []byte) error {
	says, n, err := pack.Describe(rec)
	if err != nil {
		return err
	}
	if kind == 0 {
		kind = says
	}
	return op.Decode(kind, id, rec, make([]byte, n))
}

// noteDamage notes a record that was read twice and is damaged. A note that
// cannot be written still counts as long as this owner lives.
func (o *Owner) noteDamage(p place, kind content.Kind, id ID, why error) {
	if p.writer != o.claim.owner.Writer || o.index == nil {
		return
	}
	ordinal, ok := o.ordinalOf(p, id)
	if !ok {
		return // the pack is gone, or nobody says what it holds: it is not believed at all
	}
	n := &DamageNote{Pack: p.pack, Ordinal: ordinal, ID: id, Kind: kind, Time: time.Now().UTC(), What: fmt.Sprintf("%.500v", why)}
	if !o.damage.add(n) {
		return
	}
	o.damage.setLost(id, !o.hasGoodCopy(id))
	err := o.stillOwner(o.claim)
	if err == nil {
		err = o.writeNote(n)
	}
	if err != nil {
		o.warn(fmt.Sprintf("%v %s of pack %s is damaged, and that cannot be noted: %v", kind, id.Short(), p.pack, err))
		return
	}
	o.warn(fmt.Sprintf("%v %s of pack %s is damaged: noted, so that the next backup that meets the same content stores it again", kind, id.Short(), p.pack))
}

func (o *Owner) writeNote(n *DamageNote) error {
	name := damagePath(n.Pack, n.Ordinal)
	b, err := encodeDamage(o.keys, name, n)
	if err != nil {
		return err
	}
	return o.dir.Write(name, b)
}

// removeNotes removes what is noted about a pack, which is gone.
func (o *Owner) removeNotes(id pack.ID) error {
	folder := path.Join(damagedDir, id.String())
	names, err := o.dir.List(folder)
	if err != nil || len(names) == 0 {
		return err
	}
	for _, n := range names {
		if err := o.dir.Remove(path.Join(folder, n)); err != nil {
			return err
		}
	}
	o.damage.mu.Lock()
	for content, notes := range o.damage.notes {
		if notes[id] != nil {
			o.damage.notes.remove(content, id)
		}
	}
	o.damage.mu.Unlock()
	return o.dir.RemoveDir(folder)
}

// Damaged is a record that a check found damaged, or noted as damaged and good.
type Damaged struct {
	Writer WriterID
	Pack   pack.ID
	pack.Entry
}

// NoteDamage reads records that a check found again and notes those that are
// damaged, and clears the notes of those that are good. It returns how many of
// each.
func (o *Owner) NoteDamage(ctx context.Context, records []Damaged) (damaged, good int, err error) {
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return damaged, good, err
		}
		err := o.confirm(place{r.Writer, r.Pack, r.Location}, r.Kind, r.ID)
		switch {
		case err == nil && o.damage.isNoted(r.ID, r.Pack):
			if err := o.clearNote(r.ID, r.Pack); err != nil {
				return damaged, good, err
			}
			good++
		case o.damage.isNoted(r.ID, r.Pack):
			damaged++
		}
	}
	return damaged, good, nil
}

// clearNote notes that a record can be read after all.
func (o *Owner) clearNote(id ID, in pack.ID) error {
	if err := o.stillOwner(o.claim); err != nil {
		return err
	}
	o.damage.mu.Lock()
	n := *o.damage.notes[id][in]
	o.damage.mu.Unlock()
	n.Cleared, n.What = true, "it was read back as it was stored"
	if now := time.Now().UTC(); now.After(n.Time) {
		n.Time = now
	} else {
		n.Time = n.Time.Add(time.Nanosecond)
	}
	if err := o.writeNote(&n); err != nil {
		return err
	}
	o.damage.mu.Lock()
	o.damage.notes.remove(id, in)
	o.damage.mu.Unlock()
	o.damage.setLost(id, false)
	return nil
}
