package btrfs

import "fmt"

// Kinds of extents of a file.
const (
	extentInline   = 0
	extentRegular  = 1
	extentPrealloc = 2 // reserved ahead, reads as zeros

	extentHeader = 21
	extentSize   = 53

	maxPlain  = 128 << 10 // of a compressed extent, decompressed
	maxPacked = 256 << 10
)

// extent is a part of a file. Offsets and lengths are bytes.
type extent struct {
	off, n uint64 // in the file
	kind   byte
	packed compression
	plain  uint64 // of the whole stored extent, decompressed
	at     uint64 // logical, 0: a hole
	stored uint64 // bytes at that address
	skip   uint64 // of the whole extent, before the part of the file
	inline []byte
}

func (e *extent) end() uint64 { return e.off + e.n }

// empty tells what reads as zeros.
func (e *extent) empty() bool {
	return e.kind == extentPrealloc || e.kind == extentRegular && e.at == 0
}

// parseExtent reads an extent of an inode. Layout: btrfs_file_extent_item.
func (v *volume) parseExtent(i item) (extent, error) {
	what := fmt.Sprintf("the extent at %d of inode %d", i.off, i.id)
	if len(i.b) < extentHeader {
		return extent{}, corrupt(what, "it has %d bytes", len(i.b))
	}
	e := extent{off: i.off, kind: i.b[20], packed: compression(i.b[16]), plain: le.Uint64(i.b[8:])}
	switch {
	case i.b[17] != 0:
		return e, unsupported(what, "it is encrypted")
	case i.b[18] != 0 || i.b[19] != 0:
		return e, unsupported(what, "it is encoded in a way that is not known here (%d)", le.Uint16(i.b[18:]))
	case e.packed > packedZstd:
		return e, unsupported(what, "it is compressed in a way that is not known here (%d)", e.packed)
	}
	sector := uint64(v.sector)
	switch e.kind {
	case extentInline:
		e.inline = i.b[extentHeader:]
		if e.packed == packedNot {
			e.plain = uint64(len(e.inline))
		}
		if e.off != 0 || e.plain > maxPlain {
			return e, corrupt(what, "%d bytes within the item", e.plain)
		}
		e.n = (e.plain + sector - 1) &^ (sector - 1)
	case extentRegular, extentPrealloc:
		if len(i.b) < extentSize {
			return e, corrupt(what, "it has %d bytes", len(i.b))
		}
		e.at, e.stored, e.skip, e.n = le.Uint64(i.b[21:]), le.Uint64(i.b[29:]), le.Uint64(i.b[37:]), le.Uint64(i.b[45:])
		switch {
		case e.n == 0 || e.end() < e.off || e.end() > 1<<63:
			return e, corrupt(what, "a length of %d", e.n)
		case e.at == 0:
		case e.packed != packedNot && (e.plain > maxPlain || e.stored > maxPacked):
			return e, corrupt(what, "it is compressed from %d to %d bytes", e.plain, e.stored)
		case e.skip+e.n < e.skip || e.skip+e.n > e.plain || e.stored > maxSuperDev,
			e.packed == packedNot && e.skip+e.n > e.stored:
			return e, corrupt(what, "%d bytes from %d of %d", e.n, e.skip, e.stored)
		case e.at%sector != 0 || e.stored%sector != 0 || e.at > lastFree-maxSuperDev:
			return e, corrupt(what, "%d bytes at logical address %d", e.stored, e.at)
		}
	default:
		return e, unsupported(what, "it is of kind %d, which is not known here", e.kind)
	}
	return e, nil
}
