package pack

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"github.com/pierrec/lz4/v4"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Encoder turns content into records. It belongs to one goroutine; its zero
// value works.
type Encoder struct {
	// Acceleration trades size for speed as LZ4_compress_fast does; 0 means 1.
	Acceleration int
	// Paranoid decompresses each record and compares it with its content.
	Paranoid bool

	lz4  lz4.CompressorCCompat
	back []byte // what Paranoid decompresses into
}

// Encode writes the record of content into buf, growing it when it must, and
// returns it. What does not shrink by an eighth is stored as it is. The
// record's place in a pack is filled in by [Writer.Append].
func (e *Encoder) Encode(buf []byte, kind content.Kind, id content.ID, plain []byte) ([]byte, error) {
	if len(plain) == 0 || len(plain) > MaxContent {
		return nil, fmt.Errorf("encode %v of %d bytes: between 1 and %d are allowed", kind, len(plain), MaxContent)
	}
	if need := RecordHeaderSize + len(plain) + tagSize; cap(buf) < need {
		buf = make([]byte, need)
	}
	codec, payload := e.compress(buf[RecordHeaderSize:cap(buf)], kind, plain)
	if e.Paranoid {
		if err := e.compare(codec, payload, plain); err != nil {
			return nil, fmt.Errorf("encode %v %s: %w", kind, id.Short(), err)
		}
	}
	rec := buf[:RecordHeaderSize+len(payload)]
	clear(rec[:RecordHeaderSize])
	copy(rec, recordMagic)
	rec[4], rec[5], rec[6] = byte(kind), byte(codec), byte(Unsealed)
	le.PutUint32(rec[12:], uint32(len(payload)))
	le.PutUint32(rec[16:], uint32(len(plain)))
	copy(rec[20:52], id[:])
	return rec, nil
}

// compress fills dst with the payload. Pages are lists of hashes, which do not
// compress. A destination of seven eighths makes LZ4 give up by itself.
func (e *Encoder) compress(dst []byte, kind content.Kind, plain []byte) (Codec, []byte) {
	if limit := len(plain) - len(plain)/8; kind != content.Page && limit > 16 {
		e.lz4.Acceleration = e.Acceleration
		n, err := e.lz4.CompressBlock(plain, dst[:limit])
		if err == nil && n > 0 {
			return LZ4, dst[:n]
		}
	}
	return Raw, dst[:copy(dst, plain)]
}

func (e *Encoder) compare(codec Codec, payload, plain []byte) error {
	if cap(e.back) < len(plain) {
		e.back = make([]byte, len(plain))
	}
	back := e.back[:len(plain)]
	if err := expand(codec, payload, back); err != nil {
		return err
	}
	if !bytes.Equal(back, plain) {
		return damaged("what was compressed does not decompress to the same")
	}
	return nil
}

// recordHeader is what a record says of itself.
type recordHeader struct {
	kind          content.Kind
	codec         Codec
	seal          Seal
	ordinal       uint32
	stored, plain uint32
	id            content.ID
}

func parseRecord(b []byte) (recordHeader, error) {
	if len(b) < RecordHeaderSize || string(b[:4]) != recordMagic {
		return recordHeader{}, damaged("no record begins there")
	}
	h := recordHeader{
		kind: content.Kind(b[4]), codec: Codec(b[5]), seal: Seal(b[6]), ordinal: le.Uint32(b[8:]),
		stored: le.Uint32(b[12:]), plain: le.Uint32(b[16:]), id: content.ID(b[20:52]),
	}
	switch {
	case h.seal > AES256GCM || !h.kind.Valid() || h.codec > LZ4:
		return h, h.unknown(b)
	case h.plain == 0 || h.plain > MaxContent || h.stored > h.plain+h.tag():
		return h, damaged("record of %d bytes for %d of content", h.stored, h.plain)
	}
	return h, nil
}

// tag is what a seal adds to a payload.
func (h *recordHeader) tag() uint32 {
	if h.seal == Unsealed {
		return 0
	}
	return tagSize
}

// unknown names what the record of which b is the beginning has that this
// version does not know. One that is there whole and whose checksum is wrong is
// damaged, not new.
func (h *recordHeader) unknown(b []byte) error {
	if end := RecordHeaderSize + int64(h.stored); int64(len(b)) >= end && CheckSum(b[:end]) != nil {
		return damaged("record of %v, codec %d, seal %d, whose checksum is wrong", h.kind, h.codec, h.seal)
	}
	switch {
	case h.seal > AES256GCM:
		return fmt.Errorf("record with seal %d: %w", h.seal, ErrVersion)
	case !h.kind.Valid():
		return fmt.Errorf("record of %v: %w", h.kind, ErrVersion)
	}
	return fmt.Errorf("record with codec %d: %w", h.codec, ErrVersion)
}

// Describe returns what a record says that it holds: a kind of content, and its
// length in bytes. Rec needs to hold the record's header only.
func Describe(rec []byte) (content.Kind, int, error) {
	h, err := parseRecord(rec)
	return h.kind, int(h.plain), err
}

// Decode turns a record back into content, in dst, which has the content's
// length. It returns nil only when the content hashes to id.
func (o *Opener) Decode(kind content.Kind, id content.ID, rec, dst []byte) error {
	h, err := parseRecord(rec)
	if err != nil {
		return err
	}
	switch {
	case h.seal != o.seal():
		return damaged("a record with seal %d in a pack with seal %d", h.seal, o.seal())
	case h.kind != kind || h.id != id:
		return damaged("it is %v %s, not %v %s", h.kind, h.id.Short(), kind, id.Short())
	case int(h.stored) != len(rec)-RecordHeaderSize:
		return damaged("record has %d bytes, its header says %d", len(rec)-RecordHeaderSize, h.stored)
	case int(h.plain) != len(dst):
		return damaged("its content has %d bytes, not %d", h.plain, len(dst))
	}
	if err := o.withPayload(rec, func(p []byte) error { return expand(h.codec, p, dst) }); err != nil {
		return err
	}
	if got := o.keys.ID(kind, dst); got != id {
		return damaged("its content is %s, not %v %s", got.Short(), kind, id.Short())
	}
	return nil
}

func expand(codec Codec, payload, dst []byte) error {
	switch codec {
	case Raw:
		if len(payload) != len(dst) {
			return damaged("%d raw bytes for %d of content", len(payload), len(dst))
		}
		copy(dst, payload)
		return nil
	case LZ4:
		n, err := lz4.UncompressBlock(payload, dst)
		if err != nil {
			return damaged("it does not decompress: %v", err)
		}
		if n != len(dst) {
			return damaged("it decompresses to %d bytes, not %d", n, len(dst))
		}
		return nil
	}
	return fmt.Errorf("record with codec %d: %w", codec, ErrVersion)
}

// CheckSum tells whether a whole record's checksum is right. It needs no keys
// and covers what [Decode] does not look at: the ordinal and the reserved byte.
func CheckSum(rec []byte) error {
	if len(rec) < RecordHeaderSize {
		return damaged("no record begins there")
	}
	if checkSum(rec) != le.Uint32(rec[RecordHeaderSize-crcSize:]) {
		return damaged("the record's checksum is wrong")
	}
	return nil
}

// checkSum is the checksum of a record, over its header before the checksum and its
// payload. Reading content relies on its hash; the checksum tells a torn
// record from a whole one without keys.
func checkSum(rec []byte) uint32 {
	return crc32.Update(crc(rec[:RecordHeaderSize-crcSize]), castagnoli, rec[RecordHeaderSize:])
}
