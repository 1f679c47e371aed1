package luks

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Sizes of all versions, in bytes.
const (
	binarySize = 4096 // of the binary part; version 1 uses 592 of them
	sector     = 512
	maxStripes = 8192 // 4000 is what cryptsetup makes
	maxKey     = 128
	maxVolume  = 1 << 60
)

const (
	firstMagic  = "LUKS\xba\xbe"
	secondMagic = "SKUL\xba\xbe"
)

// Header is a header that was read and checked. It holds no secret.
type Header struct {
	Version int
	UUID    string // as cryptsetup prints it
	Label   string // version 2; "" for none

	// Notes say what was found out of order and did no harm.
	Notes []string

	r       io.ReaderAt
	size    int64 // of the whole volume, bytes
	slots   []slot
	digests []digest
	data    segment
	refused error // why the data cannot be read, nil if it can
}

// slot is a place that holds the volume key, encrypted.
type slot struct {
	name    string // of its key slot, for messages
	kdf     kdf
	hash    string // of the splitter
	stripes int
	key     int // size of the volume key, bytes
	off     int64
	cipher  string
	areaKey int   // size of the key that encrypts the area, bytes
	broken  error // why it cannot be tried
}

// digest tells a volume key that is right.
type digest struct {
	slots []string // that it is for; nil: all
	kdf   kdf
	want  []byte
}

// segment is the encrypted data.
type segment struct {
	off, len int64 // bytes
	cipher   string
	sector   int64  // bytes
	iv       uint64 // sector number of the first, in units of 512 bytes
}

// Probe tells whether the volume begins with a header of LUKS.
func Probe(r io.ReaderAt) bool {
	b := make([]byte, len(firstMagic))
	n, _ := r.ReadAt(b, 0)
	return n == len(b) && string(b) == firstMagic
}

// ProbeSecond tells whether the second copy of a header of version 2 lies in a volume,
// whatever its first bytes are. One may be left over from before the volume was formatted.
func ProbeSecond(r io.ReaderAt, size int64) bool {
	for _, off := range sizes2 {
		if c, _ := readCopy(r, size, off, secondMagic); c != nil {
			return true
		}
	}
	return false
}

// ReadHeader reads the header of a volume of so many bytes. Errors: ErrNotLUKS, a
// *CorruptError, an *UnsupportedError (another version), those of r.
func ReadHeader(r io.ReaderAt, size int64) (*Header, error) {
	b := make([]byte, binarySize)
	if n, err := r.ReadAt(b, 0); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrNotLUKS
		}
		return nil, fmt.Errorf("read the LUKS header: %w", err)
	}
	version := binary.BigEndian.Uint16(b[6:])
	switch has := string(b[:6]) == firstMagic; {
	case has && version == 1:
		return header1(r, size, b)
	case has && version != 2:
		if h, err := header2(r, size); err == nil {
			return h, nil // only the version's bytes were damaged
		}
		return nil, unsupported("it is LUKS version %d, which is not known", version)
	case has:
		return header2(r, size)
	}
	// Without the first magic only the second copy can tell.
	h, err := header2(r, size)
	if err != nil && isDamage(err) {
		return nil, ErrNotLUKS
	}
	return h, err
}

func isDamage(err error) bool {
	var c *CorruptError
	return errors.As(err, &c) || errors.Is(err, ErrNotLUKS)
}

// cstring is a text that ends at its first zero byte.
func cstring(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(bytes.ToValidUTF8(s, []byte("�")))
}

// inside tells whether [off, off+n) lies in a volume of that size.
func inside(off, n, size int64) bool {
	return off >= 0 && n >= 0 && off <= size && n <= size-off
}
