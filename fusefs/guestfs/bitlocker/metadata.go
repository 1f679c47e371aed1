package bitlocker

import (
	"fmt"
	"hash/crc32"
	"io"
)

// Fields of a copy of the metadata: a header, the head of its entries, the entries, and
// behind them their checksum.
const (
	copySize   = 64 << 10 // what a copy takes up, and reads as zeros
	copyHeader = 64
	copyUnits  = 8 // of 16 bytes
	copyVer    = 10
	copyState  = 12
	copySealed = 16
	copyBackup = 56 // where the volume's first bytes were moved to
	copyMeta   = 32 // where the three copies are

	headSize   = 48
	headLength = 64 // of head and entries
	headStart  = 72 // of the entries, from the head
	headGUID   = 80
	headMethod = 100

	checkSize = 8
	checkCRC  = 4
)

// States of a volume.
const (
	stateDecrypted  = 1
	stateConverting = 2
	stateEncrypted  = 4
	statePaused     = 5
)

// readCopy reads the copy at an offset and holds it to its checksum.
func readCopy(r io.ReaderAt, off, size int64) ([]byte, error) {
	if off < bootSize || !(extent{off, copySize}).inside(size) {
		return nil, corrupt(off, "a copy cannot lie there in a volume of %d bytes", size)
	}
	b := make([]byte, copySize)
	if n, err := r.ReadAt(b, off); n < len(b) {
		return nil, fmt.Errorf("read the BitLocker metadata at %d: %w", off, orEOF(err))
	}
	if string(b[:8]) != magicFixed {
		return nil, corrupt(off, "they do not begin as such")
	}
	if v := le.Uint16(b[copyVer:]); v != 2 {
		return nil, corrupt(off, "they are of version %d; 2 is known", v)
	}
	n := int64(le.Uint16(b[copyUnits:])) * 16
	if n < copyHeader+headSize || n > copySize-checkSize {
		return nil, corrupt(off, "they have %d bytes", n)
	}
	if sum := crc32.ChecksumIEEE(b[:n]); sum != le.Uint32(b[n+checkCRC:]) {
		return nil, corrupt(off, "their checksum does not match")
	}
	return b[:n], nil
}

// decode reads a copy of the metadata that lies at an offset.
func (h *Header) decode(b []byte, off int64) error {
	length, start := int64(le.Uint32(b[headLength:])), int64(le.Uint32(b[headStart:]))
	if start < headSize || length < start || length > int64(len(b))-copyHeader {
		return corrupt(off, "their entries are at %d to %d of %d", start, length, len(b))
	}
	h.GUID, h.method = guidText(b[headGUID:]), le.Uint16(b[headMethod:])
	h.sealed = int64(le.Uint64(b[copySealed:]))
	if h.sealed == 0 || h.sealed > h.size {
		h.sealed = h.size
	}
	h.backup = extent{off: int64(le.Uint64(b[copyBackup:]))}
	for i := range h.meta {
		h.meta[i] = int64(le.Uint64(b[copyMeta+8*i:]))
	}
	if err := h.entries(b[copyHeader+start : copyHeader+length]); err != nil {
		return corrupt(off, "%v", err)
	}
	if err := h.check(); err != nil {
		return corrupt(off, "%v", err)
	}
	h.Cipher, h.refused = cipherName(h.method)
	switch state := le.Uint16(b[copyState:]); {
	case state == stateConverting:
		h.refused = unsupported("it was being encrypted or decrypted when the point was made")
	case state == stateDecrypted:
		h.refused = unsupported("it is decrypted, and its first sectors are still those of BitLocker")
	case state == statePaused:
		h.refused = unsupported("its encryption or decryption was paused at byte %d of %d", h.sealed, h.size)
	case state != stateEncrypted:
		h.refused = unsupported("it is in a state that is not known (%d)", state)
	}
	return nil
}

// check bounds where things are said to lie.
func (h *Header) check() error {
	if h.sealed < h.backup.len {
		return fmt.Errorf("it is encrypted up to byte %d of %d", h.sealed, h.size)
	}
	if h.backup.len <= 0 || h.backup.len%h.sector != 0 || h.backup.off%h.sector != 0 || h.backup.off < h.backup.len || !h.backup.inside(h.size) {
		return fmt.Errorf("its first %d bytes are said to lie at %d", h.backup.len, h.backup.off)
	}
	for _, off := range h.meta {
		if off%h.sector != 0 || off < h.backup.len || !(extent{off, copySize}).inside(h.size) {
			return fmt.Errorf("a copy is said to lie at %d", off)
		}
	}
	return nil
}
