package luks

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Fields of version 1 (big endian), and of its key slots.
const (
	v1Cipher      = 8
	v1Mode        = 40
	v1Hash        = 72
	v1Payload     = 104 // sectors of 512 bytes
	v1KeySize     = 108
	v1Digest      = 112 // 20 bytes
	v1Salt        = 132 // 32 bytes
	v1Iterations  = 164
	v1UUID        = 168
	v1Slots       = 208
	v1SlotSize    = 48
	v1SlotCount   = 8
	v1SlotActive  = 0x00ac71f3
	v1SlotRounds  = 4
	v1SlotSalt    = 8
	v1SlotOffset  = 40 // sectors
	v1SlotStripes = 44
)

// header1 decodes a header of version 1, which has no checksum.
func header1(r io.ReaderAt, size int64, b []byte) (*Header, error) {
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(b[at:])) }
	h := &Header{Version: 1, UUID: cstring(b[v1UUID : v1UUID+40]), r: r, size: size}
	cipher := cstring(b[v1Cipher:v1Mode]) + "-" + cstring(b[v1Mode:v1Hash])
	hash, key, payload := cstring(b[v1Hash:v1Payload]), u32(v1KeySize), u32(v1Payload)*sector
	if key < 8 || key > maxKey {
		return nil, corrupt(v1KeySize, "keys of %d bytes are not possible", key)
	}
	if payload == 0 {
		h.refused = unsupported("its header was made to lie apart from its data")
	} else if payload < binarySize || payload >= size {
		return nil, corrupt(v1Payload, "its data would begin at %d of %d", payload, size)
	}
	h.data = segment{payload, (size - payload) &^ (sector - 1), cipher, sector, 0}
	h.digests = []digest{{kdf: kdf{kind: "pbkdf2", hash: hash, salt: b[v1Salt : v1Salt+32], rounds: u32(v1Iterations)}, want: b[v1Digest : v1Digest+20]}}
	for i := range v1SlotCount {
		at := v1Slots + i*v1SlotSize
		if u32(at) != v1SlotActive {
			continue
		}
		s := slot{
			name: fmt.Sprint(i), hash: hash, stripes: int(u32(at + v1SlotStripes)), key: int(key), areaKey: int(key),
			off: u32(at+v1SlotOffset) * sector, cipher: cipher,
			kdf: kdf{kind: "pbkdf2", hash: hash, salt: b[at+v1SlotSalt : at+v1SlotSalt+32], rounds: u32(at + v1SlotRounds)},
		}
		s.broken = s.check(size)
		h.slots = append(h.slots, s)
	}
	if _, err := newCipher(cipher, make([]byte, key)); err != nil {
		h.refused = err
	}
	return h, nil
}

// check bounds what a slot says of its area.
func (s *slot) check(size int64) error {
	if s.stripes < 1 || s.stripes > maxStripes || s.key < 8 || s.key > maxKey || s.areaKey < 8 || s.areaKey > maxKey {
		return fmt.Errorf("key slot %s has %d stripes of %d bytes", s.name, s.stripes, s.key)
	}
	if s.off < binarySize/4 || !inside(s.off, s.areaSize(), size) {
		return fmt.Errorf("key slot %s lies at %d, which cannot be", s.name, s.off)
	}
	return nil
}

// areaSize is that of the split key, whole sectors.
func (s *slot) areaSize() int64 {
	return int64(s.stripes*s.key+sector-1) &^ (sector - 1)
}
