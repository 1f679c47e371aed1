package btrfs

import (
	"bytes"
	"crypto/sha256"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/crypto/blake2b"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumSize is how much of a block a checksum takes, whatever it is.
const sumSize = 32

// sumKind is a kind of checksum, as the superblock numbers them.
type sumKind uint16

// sums are the kinds by number: name, bytes, and the checksum of b.
var sums = []struct {
	name string
	size int
	of   func(b []byte) [sumSize]byte
}{
	{"crc32c", 4, func(b []byte) (s [sumSize]byte) {
		le.PutUint32(s[:], crc32.Checksum(b, castagnoli))
		return s
	}},
	{"xxhash64", 8, func(b []byte) (s [sumSize]byte) {
		le.PutUint64(s[:], xxhash.Sum64(b))
		return s
	}},
	{"sha256", 32, sha256.Sum256},
	{"blake2b", 32, blake2b.Sum256},
}

func (k sumKind) size() int { return sums[k].size }

// matches tells whether b has that checksum.
func (k sumKind) matches(sum, b []byte) bool {
	s := sums[k].of(b)
	return bytes.Equal(sum[:k.size()], s[:k.size()])
}

// blockHolds tells whether a block of metadata, which begins with its checksum, is
// whole.
func (k sumKind) blockHolds(b []byte) bool { return k.matches(b, b[sumSize:]) }

// nameHash is what folders and attributes are found by: CRC32C, begun and ended
// otherwise than usual.
func nameHash(name string) uint64 { return uint64(^crc32.Update(1, castagnoli, []byte(name))) }

// refHash is what an extended reference of an inode is found by.
func refHash(dir uint64, name string) uint64 {
	return uint64(^crc32.Update(^uint32(dir), castagnoli, []byte(name)))
}
