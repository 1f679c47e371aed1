package pack

import (
	"fmt"
	"io"
	"time"
)

// Header begins a pack. It repeats what opens the vault, so that losing VAULT
// loses nothing.
type Header struct {
	ID        ID
	Writer    [8]byte
	Class     Class
	Seal      Seal
	Created   time.Time
	Envelope  []byte // for keys, should later versions wrap some; empty
	VaultName string // name of the copied file, relative to the vault
	Vault     []byte // its content
}

// encode returns the header's bytes, which a checksum ends.
func (h *Header) encode() []byte {
	n := headerSize + len(h.Envelope) + len(h.VaultName) + len(h.Vault) + crcSize
	b := make([]byte, headerSize, n)
	copy(b, headerMagic)
	le.PutUint16(b[8:], Version)
	b[10] = byte(h.Class)
	b[11] = byte(h.Seal)
	le.PutUint32(b[12:], uint32(n))
	copy(b[16:32], h.ID[:])
	copy(b[32:40], h.Writer[:])
	le.PutUint64(b[40:], uint64(h.Created.UnixNano()))
	le.PutUint32(b[48:], uint32(len(h.Envelope)))
	le.PutUint32(b[52:], uint32(len(h.Vault)))
	le.PutUint16(b[56:], uint16(len(h.VaultName)))
	b = append(b, h.Envelope...)
	b = append(b, h.VaultName...)
	b = append(b, h.Vault...)
	return le.AppendUint32(b, crc(b))
}

// ReadHeader reads and checks the header of a pack.
func ReadHeader(r io.ReaderAt) (*Header, error) {
	b := make([]byte, headerSize)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, shortRead("header", err)
	}
	if string(b[:8]) != headerMagic {
		return nil, damaged("it does not begin as a pack does")
	}
	n := le.Uint32(b[12:])
	if n < headerSize+crcSize || n > maxHeader {
		return nil, damaged("a header of %d bytes", n)
	}
	b = make([]byte, n)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, shortRead("header", err)
	}
	if crc(b[:n-crcSize]) != le.Uint32(b[n-crcSize:]) {
		return nil, damaged("the header's checksum is wrong")
	}
	// The checksum lies where it does in every version: a flipped bit is not a version.
	if v := le.Uint16(b[8:]); v != Version {
		return nil, versionError(v)
	}
	envelope, vault, name := le.Uint32(b[48:]), le.Uint32(b[52:]), uint32(le.Uint16(b[56:]))
	if uint64(n) != headerSize+uint64(envelope)+uint64(vault)+uint64(name)+crcSize {
		return nil, damaged("the header's lengths do not fit together")
	}
	h := &Header{
		ID: ID(b[16:32]), Writer: [8]byte(b[32:40]), Class: Class(b[10]), Seal: Seal(b[11]),
		Created: time.Unix(0, int64(le.Uint64(b[40:]))).UTC(),
	}
	if err := h.known(); err != nil {
		return nil, err
	}
	rest := b[headerSize:]
	h.Envelope, rest = rest[:envelope:envelope], rest[envelope:]
	h.VaultName, rest = string(rest[:name]), rest[name:]
	h.Vault = rest[:vault:vault]
	return h, nil
}

// known refuses, by name, what a later version may write.
func (h *Header) known() error {
	switch {
	case h.Class != Blocks && h.Class != Pages:
		return fmt.Errorf("pack of class %d: %w", h.Class, ErrVersion)
	case h.Seal > AES256GCM:
		return fmt.Errorf("pack with seal %d: %w", h.Seal, ErrVersion)
	}
	return nil
}
