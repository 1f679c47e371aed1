package pack

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// A sealed pack has a key of its own, for AES-256-GCM (NIST SP 800-38D). It is
// derived from the vault's key for seals and the pack's random id, so that a
// pack whose header is lost can still be read. A record's nonce is its ordinal,
// which no other record of that pack has; its additional data are the pack's id
// and the record's header up to the checksum, so that a record moved to another
// place or pack is refused.
const (
	tagSize   = 16
	nonceSize = 12
)

// Opener decodes the records of one pack. It is safe for concurrent use.
type Opener struct {
	keys *content.Keys
	id   ID
	gcm  cipher.AEAD // nil: the pack is not sealed
}

// NewOpener returns what decodes the records of a pack.
func NewOpener(keys *content.Keys, id ID, seal Seal) *Opener {
	o := &Opener{keys: keys, id: id}
	if seal == AES256GCM {
		key := keys.PackKey(id)
		o.gcm = newGCM(key[:])
	}
	return o
}

func newGCM(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var gcm cipher.AEAD
		if gcm, err = cipher.NewGCM(block); err == nil {
			return gcm
		}
	}
	panic(err) // only for keys that are not 16, 24 or 32 bytes long
}

func (o *Opener) seal() Seal {
	if o.gcm != nil {
		return AES256GCM
	}
	return Unsealed
}

// nonce and additional data of a record, whose header is complete but for its
// checksum.
func (o *Opener) bind(rec []byte) (nonce [nonceSize]byte, data [len(ID{}) + RecordHeaderSize - crcSize]byte) {
	binary.LittleEndian.PutUint32(nonce[:], le.Uint32(rec[8:]))
	copy(data[:], o.id[:])
	copy(data[len(o.id):], rec)
	return nonce, data
}

// sealRecord encrypts the payload of a record that has its ordinal, in place
// where there is room behind it.
func (o *Opener) sealRecord(rec []byte) []byte {
	rec[6] = byte(AES256GCM)
	le.PutUint32(rec[12:], uint32(len(rec)-RecordHeaderSize+tagSize))
	nonce, data := o.bind(rec)
	sealed := o.gcm.Seal(rec[RecordHeaderSize:RecordHeaderSize], nonce[:], rec[RecordHeaderSize:], data[:])
	return append(rec[:RecordHeaderSize], sealed...) // a copy onto itself where there was room
}

// payloads hold opened payloads until they are decompressed.
var payloads = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// withPayload calls fn with a record's payload, opened where it is sealed. The
// record itself is not changed.
func (o *Opener) withPayload(rec []byte, fn func(payload []byte) error) error {
	if o.gcm == nil {
		return fn(rec[RecordHeaderSize:])
	}
	buf := payloads.Get().(*[]byte)
	defer payloads.Put(buf)
	nonce, data := o.bind(rec)
	payload, err := o.gcm.Open((*buf)[:0], nonce[:], rec[RecordHeaderSize:], data[:])
	if err != nil {
		return damaged("its seal is broken")
	}
	*buf = payload
	return fn(payload)
}

// Unseal returns a record without its seal in buf, grown when it must be: what
// [Writer.Append] takes to give it another place. The content is not compared with
// its ID; Decode does so.
func (o *Opener) Unseal(buf, rec []byte) ([]byte, error) {
	h, err := parseRecord(rec)
	if err != nil {
		return nil, err
	}
	if h.seal != o.seal() || int(h.stored) != len(rec)-RecordHeaderSize {
		return nil, damaged("a record of %d bytes with seal %d in a pack with seal %d", len(rec), h.seal, o.seal())
	}
	if cap(buf) < len(rec)+tagSize {
		buf = make([]byte, 0, len(rec)+tagSize)
	}
	buf = append(buf[:0], rec[:RecordHeaderSize]...)
	err = o.withPayload(rec, func(p []byte) error { buf = append(buf, p...); return nil })
	buf[6] = byte(Unsealed)
	le.PutUint32(buf[12:], uint32(len(buf)-RecordHeaderSize))
	return buf, err
}
