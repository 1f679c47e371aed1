package fat

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const tablePiece = 64 << 10 // what is read of a table at a time; all of a FAT12

// tableKey names a piece of one copy of the table.
type tableKey struct {
	copy  int
	index int64
}

// cursor reads entries of the table and remembers the piece that it read last.
type cursor struct {
	v     *volume
	key   tableKey
	piece []byte
}

// link is what an entry of the table says: where the chain goes on, its end, or
// what cannot be within a chain.
type link struct {
	next uint32
	end  bool
	bad  bool
}

// entry returns the raw entry of a cluster in one copy of the table.
func (c *cursor) entry(copy int, cluster uint32) (uint32, error) {
	off := int64(cluster) * int64(c.v.bits) / 8
	key := tableKey{copy, off / tablePiece}
	if c.piece == nil || c.key != key {
		piece, err := c.v.tablePiece(key)
		if err != nil {
			return 0, err
		}
		c.key, c.piece = key, piece
	}
	b := c.piece[off%tablePiece:]
	switch {
	case c.v.bits == 32 && len(b) >= 4:
		return le.Uint32(b) & (1<<28 - 1), nil
	case c.v.bits == 16 && len(b) >= 2:
		return uint32(le.Uint16(b)), nil
	case c.v.bits == 12 && len(b) >= 2:
		return uint32(le.Uint16(b)) >> (cluster & 1 * 4) & 0xFFF, nil
	}
	return 0, &tree.CorruptError{What: "the file allocation table", Why: fmt.Sprintf("it has no entry %d", cluster), At: c.v.tableAt}
}

func (v *volume) tablePiece(key tableKey) ([]byte, error) {
	if piece, ok := v.tablePieces.Get(key); ok {
		return piece, nil
	}
	piece := make([]byte, min(tablePiece, v.tableSize-key.index*tablePiece))
	at := v.tableAt + int64(key.copy)*v.tableSize + key.index*tablePiece
	if err := tree.ReadFull(v.r, piece, at); err != nil {
		return nil, fmt.Errorf("the file allocation table at %d of the volume: %w", at, err)
	}
	v.tablePieces.Put(key, piece, int64(len(piece)))
	return piece, nil
}

func (c *cursor) link(copy int, cluster uint32) (link, error) {
	value, err := c.entry(copy, cluster)
	if err != nil {
		return link{bad: true}, err
	}
	endOf := uint32(1)<<min(c.v.bits, 28) - 8
	return link{next: value, end: value >= endOf, bad: value < endOf && !c.v.valid(value)}, nil
}

// next returns where a chain goes on after a cluster, from the copy in use, or
// where that says what cannot be, from another one.
func (c *cursor) next(cluster uint32) (link, error) {
	first, err := c.link(c.v.active, cluster)
	if err == nil && !first.bad {
		return first, nil
	}
	for other := range c.v.tables {
		if other == c.v.active || !c.v.mirrored {
			continue
		}
		if l, otherErr := c.link(other, cluster); otherErr == nil && !l.bad {
			return l, nil
		}
	}
	if err == nil {
		err = &tree.CorruptError{What: "the file allocation table", At: c.v.tableAt + int64(c.v.active)*c.v.tableSize + int64(cluster)*int64(c.v.bits)/8,
			Why: fmt.Sprintf("cluster %d is followed by %#x", cluster, first.next)}
	}
	return first, err
}

// Next returns where a chain goes on after a cluster.
func (c *cursor) Next(cluster uint32) (next uint32, end bool, err error) {
	l, err := c.next(cluster)
	return l.next, l.end, err
}

// intact reports whether a copy of the table begins as it must: with the medium.
func (v *volume) intact(copy int) bool {
	c := cursor{v: v}
	first, err := c.entry(copy, 0)
	return err == nil && byte(first) == v.media && first>>8 == uint32(1)<<(min(v.bits, 28)-8)-1
}

// CountUsed counts the entries of the table that are not free.
func (v *volume) CountUsed() (int64, error) {
	c, used := cursor{v: v}, int64(0)
	for cluster := uint32(2); v.valid(cluster); cluster++ {
		value, err := c.entry(v.active, cluster)
		if err != nil {
			return 0, err
		}
		if value != 0 {
			used++
		}
	}
	return used * v.cluster, nil
}
