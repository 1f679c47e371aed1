package squashfs

import (
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	metaSize    = 8 << 10 // of a metadata block, but for the last of a table
	stored      = 1 << 15 // it is not compressed
	blockStored = 1 << 24 // nor is a block of a file
)

// meta is a metadata block: its content, and where the next one begins.
type meta struct {
	b    []byte
	next int64
}

func (v *volume) meta(at int64) (meta, error) {
	if m, ok := v.metas.Get(at); ok {
		return m, nil
	}
	bad := func(why string, args ...any) (meta, error) {
		return meta{}, &tree.CorruptError{What: "a metadata block", Why: fmt.Sprintf(why, args...), At: at}
	}
	if at < superSize || at+2 > v.end {
		return bad("it is beyond the volume's %d bytes", v.end)
	}
	head := make([]byte, 2)
	if err := tree.ReadFull(v.r, head, at); err != nil {
		return meta{}, fmt.Errorf("metadata block at %d of the volume: %w", at, err)
	}
	size := int64(le.Uint16(head) &^ stored)
	if size == 0 || size > metaSize || at+2+size > v.end {
		return bad("it has %d bytes", size)
	}
	b := make([]byte, size)
	if err := tree.ReadFull(v.r, b, at+2); err != nil {
		return meta{}, fmt.Errorf("metadata block at %d of the volume: %w", at, err)
	}
	if le.Uint16(head)&stored == 0 {
		out := make([]byte, metaSize)
		n, err := v.decoder(out, b)
		if err != nil {
			var unsupported *tree.UnsupportedError
			if errors.As(err, &unsupported) {
				return meta{}, err
			}
			return bad("it cannot be decompressed: %v", err)
		}
		b = out[:n]
	}
	m := meta{b, at + 2 + size}
	v.metas.Put(at, m, metaSize)
	return m, nil
}

// cursor reads on through the metadata blocks of a table.
type cursor struct {
	v    *volume
	rest []byte
	next int64
}

// seek begins at an offset within the metadata block at a place.
func (v *volume) seek(at int64, offset int) (*cursor, error) {
	m, err := v.meta(at)
	if err != nil {
		return nil, err
	}
	if offset > len(m.b) {
		return nil, &tree.CorruptError{What: "a metadata block", Why: fmt.Sprintf("something is at %d of its %d bytes", offset, len(m.b)), At: at}
	}
	return &cursor{v, m.b[offset:], m.next}, nil
}

// seekRef begins where a reference says: a block's place from the table's begin, and 16 bits of offset.
func (v *volume) seekRef(table int64, ref uint64) (*cursor, error) {
	if ref>>16 > uint64(v.end) {
		return nil, &tree.CorruptError{What: "a reference", Why: fmt.Sprintf("it leads to %d", ref>>16), At: table}
	}
	return v.seek(table+int64(ref>>16), int(ref&0xFFFF))
}

// take returns the next n bytes, which are not to be changed.
func (c *cursor) take(n int) ([]byte, error) {
	if n <= len(c.rest) {
		b := c.rest[:n:n]
		c.rest = c.rest[n:]
		return b, nil
	}
	b := make([]byte, 0, n)
	for {
		part := min(n-len(b), len(c.rest))
		b = append(b, c.rest[:part]...)
		if c.rest = c.rest[part:]; len(b) == n {
			return b, nil
		}
		m, err := c.v.meta(c.next)
		if err != nil {
			return nil, err
		}
		if len(m.b) == 0 {
			return nil, &tree.CorruptError{What: "a metadata block", Why: "it is empty", At: c.next}
		}
		c.rest, c.next = m.b, m.next
	}
}

// entryOf returns an entry of a table that is found through a list of the places of
// its metadata blocks.
func (v *volume) entryOf(list int64, index int64, size int) ([]byte, error) {
	perBlock := int64(metaSize / size)
	at := list + index/perBlock*8
	b := make([]byte, 8)
	if at < superSize || at+8 > v.end {
		return nil, &tree.CorruptError{What: "a table", Why: fmt.Sprintf("it has no entry %d", index), At: at}
	}
	if err := tree.ReadFull(v.r, b, at); err != nil {
		return nil, fmt.Errorf("a table at %d of the volume: %w", at, err)
	}
	c, err := v.seek(int64(le.Uint64(b)), int(index%perBlock)*size)
	if err != nil {
		return nil, err
	}
	return c.take(size)
}

// id returns a user or group.
func (v *volume) id(index uint16) (uint32, error) {
	if int64(index) >= v.ids {
		return 0, &tree.CorruptError{What: "the table of owners", Why: fmt.Sprintf("it has no entry %d", index), At: v.idTable}
	}
	b, err := v.entryOf(v.idTable, int64(index), 4)
	if err != nil {
		return 0, err
	}
	return le.Uint32(b), nil
}
