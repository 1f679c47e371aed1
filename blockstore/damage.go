package blockstore

import (
	"fmt"
	"path"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
	"github.com/holdfast-backup/holdfast/blockstore/pack"
)

// DamageNote says that a record of a pack could not be read back as it was
// stored, twice, the second time past the page cache. While the newest note
// about a record is not a cleared one, its ID counts as not stored, so that the
// next backup that meets the content stores it again.
type DamageNote struct {
	Pack    pack.ID      `json:"pack"`
	Ordinal uint32       `json:"ordinal"` // of the record in its pack
	ID      ID           `json:"id"`
	Kind    content.Kind `json:"kind"`
	Time    time.Time    `json:"time"`
	What    string       `json:"what"`    // was found, in words
	Cleared bool         `json:"cleared"` // the pack is gone, or the record was read back well
}

// encodeDamage returns the record of a note that will lie at p, which comes
// from damagePath.
func encodeDamage(keys *content.Keys, p string, n *DamageNote) ([]byte, error) {
	if err := n.check(p); err != nil {
		return nil, fmt.Errorf("encode %s: %w", p, err)
	}
	return encodeRecord(keys, false, damageKind, p, n)
}

// decodeDamage authenticates the note that lies at p.
func decodeDamage(keys *content.Keys, p string, b []byte) (*DamageNote, error) {
	n := &DamageNote{}
	if err := decodeRecord(keys, damageKind, p, b, n); err != nil {
		return nil, err
	}
	if err := n.check(p); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", p, errRecord, err)
	}
	return n, nil
}

// check compares a note with its path, by which notes are looked up.
func (n *DamageNote) check(p string) error {
	folder, name := path.Split(p)
	ordinal, _, ok := parseNumbered(name)
	if !ok || ordinal != uint64(n.Ordinal) || path.Clean(folder) != path.Join(damagedDir, n.Pack.String()) {
		return fmt.Errorf("it is about record %d of pack %s", n.Ordinal, n.Pack)
	}
	if !n.Kind.Valid() || n.ID.IsZero() {
		return fmt.Errorf("it is about %v %s, which is never stored", n.Kind, n.ID.Short())
	}
	return nil
}
