package blockstore

import (
	"context"
	"errors"
	"io"
	"path"

	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// noted are records that are noted as damaged, by content and pack. Nil notes
// nothing.
type noted map[ID]map[pack.ID]*DamageNote

// has tells whether a pack's copy of id is noted.
func (n noted) has(id ID, in pack.ID) bool { return n[id][in] != nil }

func (n noted) add(note *DamageNote) {
	if n[note.ID] == nil {
		n[note.ID] = map[pack.ID]*DamageNote{}
	}
	n[note.ID][note.Pack] = note
}

func (n noted) remove(id ID, in pack.ID) {
	delete(n[id], in)
	if len(n[id]) == 0 {
		delete(n, id)
	}
}

// inPacks returns the notes by pack.
func (n noted) inPacks() map[pack.ID][]*DamageNote {
	packs := map[pack.ID][]*DamageNote{}
	for _, notes := range n {
		for p, note := range notes {
			packs[p] = append(packs[p], note)
		}
	}
	return packs
}

// isDamage tells whether an error of reading a record says that what is there
// is not what was stored. An error of the device says nothing of the kind.
func isDamage(err error) bool {
	return errors.Is(err, pack.ErrDamaged) || errors.Is(err, io.EOF) // the pack was cut
}

// damageNotes reads the notes that are not cleared; of several about one record
// the newest counts. Those that cannot be read are returned by path.
func (v *Vault) damageNotes(ctx context.Context) (n noted, unread map[string]error, err error) {
	folders, err := v.dir.List(damagedDir)
	if err != nil {
		return nil, nil, err
	}
	n, unread = noted{}, map[string]error{}
	for _, folder := range folders {
		if _, err := pack.ParseID(folder); err != nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		names, err := v.dir.List(path.Join(damagedDir, folder))
		if err != nil {
			return nil, nil, err
		}
		newest := map[uint32]*DamageNote{}
		for _, name := range names {
			p := path.Join(damagedDir, folder, name)
			note, err := v.damageNote(p)
			switch {
			case isNotExist(err): // its pack was just removed
			case err != nil:
				unread[p] = err
			case newest[note.Ordinal] == nil || note.Time.After(newest[note.Ordinal].Time):
				newest[note.Ordinal] = note
			}
		}
		for _, note := range newest {
			if !note.Cleared {
				n.add(note)
			}
		}
	}
	return n, unread, nil
}

func (v *Vault) damageNote(p string) (*DamageNote, error) {
	b, err := v.dir.ReadFile(p, maxRecord)
	if err != nil {
		return nil, err
	}
	return decodeDamage(v.keys, p, b)
}

// recordAt finds a record of a pack by its ordinal.
func (v *Vault) recordAt(w WriterID, id pack.ID, ordinal uint64) (pack.Entry, bool) {
	entries, _, err := v.packEntries(w, id)
	if err != nil || ordinal >= uint64(len(entries)) {
		return pack.Entry{}, false
	}
	return entries[ordinal], true
}

// ordinalOf returns the place of the record of id in its pack's list. Where the
// footer is lost, segments say what the pack holds. A place that the footer does
// not know is that of a damaged segment, not of a damaged record.
func (v *Vault) ordinalOf(p place, id ID) (uint32, bool) {
	f, err := v.dir.Open(packPath(p.writer, p.pack))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, false
	}
	entries, err := pack.ReadFooter(f, st.Size(), p.pack)
	if err != nil {
		entries = v.tables.Load().entriesOf(p.pack)
	}
	for i, e := range entries {
		if e.Location == p.Location && e.ID == id {
			return uint32(i), true
		}
	}
	return 0, false
}
