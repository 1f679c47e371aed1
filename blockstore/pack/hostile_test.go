package pack

import (
	"bytes"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// A guest can fill its blocks with what looks like the beginnings of long
// records, one in every few bytes. Each that had to be hashed to its end would
// make the search of one pack take hours; their checksums are wrong.
func TestSalvageOfAPackFullOfBeginningsOfRecordsHashesNoneOfThem(t *testing.T) {
	block := noise(7, MaxContent)
	for at := 0; at+RecordHeaderSize <= len(block); at += 256 { // fewer, or LZ4 would hide them
		copy(block[at:], recordMagic)
		copy(block[at+4:], []byte{byte(content.Block), byte(Raw), byte(Unsealed)})
		le.PutUint32(block[at+12:], uint32(len(block)-at-RecordHeaderSize))
		le.PutUint32(block[at+16:], uint32(len(block)-at-RecordHeaderSize))
	}
	b, entries := write(t, testHeader(), []item{{content.Block, block}})
	if int(entries[0].Length) != RecordHeaderSize+MaxContent {
		t.Fatal("the block is not stored raw")
	}
	b[entries[0].Offset] ^= 1 // the record itself is not found, so that all within it is looked at
	if got := salvage(t, b); len(got) != 0 {
		t.Errorf("%d records", len(got))
	}
	if e, ok := admit(bytes.Clone(block), plainOpener(), make([]byte, MaxContent)); ok {
		t.Errorf("admitted: %v", e)
	}
}
