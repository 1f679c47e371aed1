package exfat

import (
	"fmt"
	"math/bits"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	linkSize   = 4 // an entry of the table
	chainEnd   = 0xFFFFFFFF
	tablePiece = 64 << 10 // what is read of the table at a time
	bitmapRead = 64 << 10
)

// cursor reads entries of the table and remembers the piece that it read last.
type cursor struct {
	v     *volume
	index int64
	piece []byte
}

// Next returns the cluster that follows in a chain, or end.
func (c *cursor) Next(cluster uint32) (next uint32, end bool, err error) {
	off := int64(cluster) * linkSize
	if index := off / tablePiece; c.piece == nil || c.index != index {
		if c.piece, err = c.v.tablePiece(index); err != nil {
			return 0, false, err
		}
		c.index = index
	}
	next = le.Uint32(c.piece[off%tablePiece:])
	switch {
	case next == chainEnd:
		return 0, true, nil
	case !c.v.valid(next):
		return 0, false, &tree.CorruptError{What: "the file allocation table", At: c.v.tableAt + off,
			Why: fmt.Sprintf("cluster %d is followed by %#x", cluster, next)}
	}
	return next, false, nil
}

func (v *volume) tablePiece(index int64) ([]byte, error) {
	if piece, ok := v.tablePieces.Get(index); ok {
		return piece, nil
	}
	piece := make([]byte, min(tablePiece, v.tableSize-index*tablePiece))
	at := v.tableAt + index*tablePiece
	if err := tree.ReadFull(v.r, piece, at); err != nil {
		return nil, fmt.Errorf("the file allocation table at %d of the volume: %w", at, err)
	}
	v.tablePieces.Put(index, piece, int64(len(piece)))
	return piece, nil
}

// CountUsed counts the bits of the allocation bitmap.
func (v *volume) CountUsed() (int64, error) {
	if v.bitmap == nil {
		return 0, &tree.CorruptError{What: "the root folder", Why: "it names no allocation bitmap", At: v.place(v.rootCluster)}
	}
	size := (int64(v.clusters) + 7) / 8
	if v.bitmap.Size < size {
		return 0, v.bitmap.Corrupt("it has %d bytes for %d clusters", v.bitmap.Size, v.clusters)
	}
	used, buf := int64(0), make([]byte, min(bitmapRead, size))
	for at := int64(0); at < size; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), size-at)]
		if n, err := v.bitmap.ReadAt(b, at); n < len(b) {
			return 0, fmt.Errorf("allocation bitmap: %w", err)
		}
		if rest := v.clusters % 8; rest != 0 && at+int64(len(b)) == size {
			b[len(b)-1] &= 1<<rest - 1
		}
		for _, c := range b {
			used += int64(bits.OnesCount8(c))
		}
	}
	return used * v.cluster, nil
}
