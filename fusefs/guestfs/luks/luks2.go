package luks

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Fields of the binary part of version 2 (big endian).
const (
	v2Size     = 8 // of binary part and JSON
	v2Sequence = 16
	v2Label    = 24
	v2SumKind  = 72
	v2UUID     = 168
	v2Offset   = 256
	v2Sum      = 448
	v2SumSize  = 64
)

// sizes2 are those that a header may have; the second copy follows the first.
var sizes2 = []int64{16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20}

// copy2 is one copy of a header, its checksum right.
type copy2 struct {
	b        []byte
	sequence uint64
}

// header2 takes the newer of the two copies that are whole.
func header2(r io.ReaderAt, size int64) (*Header, error) {
	first, firstErr := readCopy(r, size, 0, firstMagic)
	places := sizes2
	if first != nil {
		places = []int64{int64(len(first.b))}
	}
	var second *copy2
	var secondErr error
	for _, off := range places {
		if second, secondErr = readCopy(r, size, off, secondMagic); second != nil {
			break
		}
	}
	var notes []string
	best := first
	switch {
	case first == nil && second == nil:
		return nil, firstErr
	case first == nil:
		best, notes = second, []string{fmt.Sprintf("%v; its second copy is read", firstErr)}
	case second == nil:
		notes = []string{fmt.Sprintf("the second copy of its LUKS header is damaged: %v", secondErr)}
	case second.sequence > first.sequence:
		best = second
	}
	h, err := decode2(best.b, size)
	if err != nil && best == first && second != nil {
		if h, err2 := decode2(second.b, size); err2 == nil {
			h.Notes, h.r = []string{fmt.Sprintf("%v; its second copy is read", err)}, r
			return h, nil
		}
	}
	if err != nil {
		return nil, err
	}
	h.Notes, h.r = append(notes, h.Notes...), r
	return h, nil
}

func readCopy(r io.ReaderAt, size, off int64, magic string) (*copy2, error) {
	b := make([]byte, binarySize)
	if !inside(off, binarySize, size) {
		return nil, corrupt(off, "the volume ends before it")
	}
	if n, err := r.ReadAt(b, off); n < len(b) {
		return nil, fmt.Errorf("read the LUKS header at %d: %w", off, orEOF(err))
	}
	if string(b[:6]) != magic || binary.BigEndian.Uint16(b[6:]) != 2 {
		return nil, corrupt(off, "it does not begin as one")
	}
	length := binary.BigEndian.Uint64(b[v2Size:])
	if length > uint64(sizes2[len(sizes2)-1]) || length < uint64(sizes2[0]) || length&(length-1) != 0 || !inside(off, int64(length), size) {
		return nil, corrupt(off+v2Size, "a header of %d bytes is not possible", length)
	}
	if at := binary.BigEndian.Uint64(b[v2Offset:]); at != uint64(off) {
		return nil, corrupt(off+v2Offset, "it says that it lies at %d", at)
	}
	whole := make([]byte, length)
	if n, err := r.ReadAt(whole, off); n < len(whole) {
		return nil, fmt.Errorf("read the LUKS header at %d: %w", off, orEOF(err))
	}
	sum := bytes.Clone(whole[v2Sum : v2Sum+v2SumSize])
	clear(whole[v2Sum : v2Sum+v2SumSize])
	var is []byte
	switch kind := cstring(whole[v2SumKind : v2SumKind+32]); kind {
	case "sha256":
		s := sha256.Sum256(whole)
		is = s[:]
	case "sha512":
		s := sha512.Sum512(whole)
		is = s[:]
	default:
		return nil, corrupt(off+v2SumKind, "checksums of kind %.32q are not known", kind)
	}
	if !bytes.Equal(is, sum[:len(is)]) {
		return nil, corrupt(off, "its checksum does not match")
	}
	return &copy2{whole, binary.BigEndian.Uint64(b[v2Sequence:])}, nil
}

func decode2(b []byte, size int64) (*Header, error) {
	h := &Header{Version: 2, UUID: cstring(b[v2UUID : v2UUID+40]), Label: cstring(b[v2Label : v2Label+48]), size: size}
	text, _, _ := bytes.Cut(b[binarySize:], []byte{0})
	var m metadata
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, corrupt(binarySize, "its JSON: %v", err)
	}
	if err := h.fill(&m); err != nil {
		return nil, err
	}
	return h, nil
}

func orEOF(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
