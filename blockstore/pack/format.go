package pack

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Version is the version of the format that this program writes, and the only
// one that it reads.
const Version = 1

// Sizes of the fixed parts of a pack, in bytes.
const (
	headerSize       = 64 // before the envelope and the copy of VAULT
	RecordHeaderSize = 56
	entrySize        = 44
	trailerSize      = 64
	crcSize          = 4

	// MaxContent is the largest content of a record.
	MaxContent = 1 << 20
	// maxHeader bounds the whole header, envelope and copy of VAULT included.
	maxHeader = 1 << 20
	// MaxRecord is the largest record, header included.
	MaxRecord = RecordHeaderSize + MaxContent
	// MaxRecords is how many records a pack has at most; its list of them is read
	// into memory.
	MaxRecords = 1 << 20
)

const (
	headerMagic  = "HOLDPACK"
	recordMagic  = "HFRC"
	trailerMagic = "HFPE"
)

// Codec says how a record's payload encodes its content.
type Codec uint8

// The codecs. Their values are part of the format.
const (
	Raw Codec = 0
	LZ4 Codec = 1 // one LZ4 block, without frame
)

// Seal says how payloads are encrypted.
type Seal uint8

// The seals. Their values are part of the format.
const (
	Unsealed  Seal = 0
	AES256GCM Seal = 1
)

// Class says what a pack holds: blocks lie apart from what maps them.
type Class uint8

// The classes. Their values are part of the format.
const (
	Blocks Class = 1
	Pages  Class = 2 // pages and blobs
)

// ClassOf is the class of packs that content of a kind lies in.
func ClassOf(k content.Kind) Class {
	if k == content.Block {
		return Blocks
	}
	return Pages
}

// ID names a pack: 16 random bytes, also in its file's name.
type ID [16]byte

// String returns the ID as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads what [ID.String] wrote.
func ParseID(s string) (ID, error) {
	var id ID
	if _, err := hex.Decode(id[:], []byte(s[:min(len(s), 2*len(id))])); err != nil || id.String() != s {
		return ID{}, fmt.Errorf("pack id %.40q: want %d lower-case hexadecimal digits", s, 2*len(id))
	}
	return id, nil
}

// MarshalText writes what [ID.String] returns.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what [ID.String] returns.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// Errors of reading.
var (
	ErrDamaged = errors.New("damaged")
	ErrVersion = errors.New("unknown version")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// Location is where a record lies in its pack, header included.
type Location struct {
	Offset, Length uint32
}

// End is the offset after the record.
func (l Location) End() int64 { return int64(l.Offset) + int64(l.Length) }

// Entry is one line of a footer; its place there is the record's ordinal.
type Entry struct {
	ID   content.ID
	Kind content.Kind
	Location
}

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func crc(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }
