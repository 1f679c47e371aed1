package content

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// IDSize is the length of an ID in bytes.
const IDSize = 32

// ID names content. The zero ID is the block of zeros, or a page that maps
// nothing but such blocks; it is never stored.
type ID [IDSize]byte

// IsZero tells whether id names all-zero content.
func (id ID) IsZero() bool { return id == ID{} }

// String returns id as 64 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 12 hexadecimal digits, for messages.
func (id ID) Short() string { return hex.EncodeToString(id[:6]) }

// MarshalText writes id as 64 hexadecimal digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*IDSize {
		return fmt.Errorf("content ID has %d digits, want %d", len(text), 2*IDSize)
	}
	return decodeHex(id[:], text)
}

// decodeHex reads lower-case hexadecimal digits, two for each byte of dst: what
// is written in one way is read in that way only.
func decodeHex(dst, text []byte) error {
	if len(text) != 2*len(dst) || bytes.ContainsAny(text, "ABCDEF") {
		return fmt.Errorf("want %d lower-case hexadecimal digits", 2*len(dst))
	}
	_, err := hex.Decode(dst, text)
	return err
}

// Kind says what an ID names. Its values are part of the format.
type Kind uint8

// The kinds of content.
const (
	Block Kind = 1 // a fixed-size piece of a disk
	Page  Kind = 2 // a page of a disk map
	Blob  Kind = 3 // configuration, NVRAM, TPM state
)

func (k Kind) String() string {
	switch k {
	case Block:
		return "block"
	case Page:
		return "page"
	case Blob:
		return "blob"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// MarshalText writes the kind's name.
func (k Kind) MarshalText() ([]byte, error) {
	if !k.Valid() {
		return nil, fmt.Errorf("unknown %v of content", k)
	}
	return []byte(k.String()), nil
}

// UnmarshalText reads the name of a kind.
func (k *Kind) UnmarshalText(text []byte) error {
	for known := Block; known.Valid(); known++ {
		if string(text) == known.String() {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("unknown kind %.20q of content", text)
}

// Valid tells whether k is a kind that this version knows.
func (k Kind) Valid() bool { return k >= Block && k <= Blob }
