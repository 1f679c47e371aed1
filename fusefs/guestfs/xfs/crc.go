package xfs

import (
	"bytes"
	"hash/crc32"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcHolds reports whether the CRC32C of b, its own four bytes counted as zeros,
// is the little-endian number that lies at an offset of it.
func crcHolds(b []byte, at int) bool {
	return le.Uint32(b[at:]) == crcWithout(b, at)
}

// crcWithout is the CRC32C of b with the four bytes at an offset taken as zeros.
func crcWithout(b []byte, at int) uint32 {
	var zero [4]byte
	c := crc32.Update(0, castagnoli, b[:at])
	c = crc32.Update(c, castagnoli, zero[:])
	return crc32.Update(c, castagnoli, b[at+4:])
}

// stamp says where a kind of block of version 5 carries its checksum, its own
// address in sectors of 512 bytes, and the file system's id.
type stamp struct{ crc, address, uuid int }

var (
	stampMap    = stamp{crc: 64, address: 24, uuid: 40} // xfs_btree_lblock
	stampDir    = stamp{crc: 4, address: 8, uuid: 24}   // xfs_dir3_blk_hdr
	stampHash   = stamp{crc: 12, address: 16, uuid: 32} // xfs_da3_blkinfo
	stampRemote = stamp{crc: 12, address: 40, uuid: 16} // xfs_attr3_rmt_hdr, xfs_dsymlink_hdr
)

// piece is a part of the volume that holds metadata.
type piece struct {
	b        []byte // not to be changed
	at       int64  // of its first byte
	replayed bool   // some of it comes from the log, and its checksum may not fit
}

// check tells whether a block of version 5 is whole and in its place. What the
// log changed lacks a new checksum, but was covered by that of the log's record.
func (v *volume) check(p piece, s stamp, what string) error {
	if !v.v5 {
		return nil
	}
	switch {
	case !crcHolds(p.b, s.crc) && !p.replayed:
		return corrupt(what, p.at, "its checksum is wrong")
	case be.Uint64(p.b[s.address:]) != uint64(p.at)>>9:
		return corrupt(what, p.at, "it says that it lies elsewhere")
	case !bytes.Equal(p.b[s.uuid:s.uuid+16], v.metaUUID[:]):
		return corrupt(what, p.at, "it is of another file system")
	}
	return nil
}

func corrupt(what string, at int64, why string) error {
	return &tree.CorruptError{What: what, Why: why, At: at}
}
