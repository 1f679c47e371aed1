package btrfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// compression is how an extent is compressed.
type compression byte

const (
	packedNot compression = iota
	packedZlib
	packedLZO
	packedZstd
)

func (c compression) String() string { return [...]string{"none", "zlib", "lzo", "zstd"}[c&3] }

// packedKey names a compressed extent. What refers to it says how long it is.
type packedKey struct {
	at, stored, plain uint64
	packed            compression
	checked           bool
}

// unpacked returns the whole content of an inline or compressed extent.
func (v *volume) unpacked(e *extent, checked bool) ([]byte, error) {
	if e.kind == extentInline {
		if e.packed == packedNot {
			return e.inline, nil
		}
		return e.packed.unpack(e.inline, int(e.plain), v.sector)
	}
	k := packedKey{e.at, e.stored, e.plain, e.packed, checked}
	if b, ok := v.plain.Get(k); ok {
		return b, nil
	}
	b := make([]byte, e.stored)
	if err := v.readData(b, e.at, checked); err != nil {
		return nil, err
	}
	plain, err := e.packed.unpack(b, int(e.plain), v.sector)
	if err != nil {
		return nil, fmt.Errorf("the extent at logical address %d: %w", e.at, err)
	}
	v.plain.Put(k, plain, int64(cap(plain)))
	return plain, nil
}

// unpack decompresses to at most so many bytes. Less is no error: the rest is zeros.
func (c compression) unpack(b []byte, plain, sector int) (out []byte, err error) {
	switch c {
	case packedZlib:
		out, err = unzlib(b, plain)
	case packedLZO:
		out, err = unlzo(b, plain, sector)
	case packedZstd:
		out, err = unzstd(b, plain)
	}
	if err != nil {
		return nil, corrupt("what is compressed with "+c.String(), "%v", err)
	}
	return out, nil
}

var inflaters sync.Pool // of io.ReadCloser that are zlib.Resetter

func unzlib(b []byte, plain int) ([]byte, error) {
	r, _ := inflaters.Get().(io.ReadCloser)
	var err error
	if r == nil {
		r, err = zlib.NewReader(bytes.NewReader(b))
	} else {
		err = r.(zlib.Resetter).Reset(bytes.NewReader(b), nil)
	}
	if err != nil {
		return nil, err
	}
	defer inflaters.Put(r)
	out := make([]byte, plain)
	n := 0
	for n < plain && err == nil {
		var k int
		k, err = r.Read(out[n:])
		n += k
	}
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return out[:n], nil
}

// maxWindow is larger than any that btrfs makes.
const maxWindow = 1 << 20

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		panic(err) // its options are constants
	}
	return d
}}

func unzstd(b []byte, plain int) ([]byte, error) {
	frame, err := zstdFrame(b)
	if err != nil {
		return nil, err
	}
	d := zstdDecoders.Get().(*zstd.Decoder)
	defer zstdDecoders.Put(d)
	out, err := d.DecodeAll(frame, make([]byte, 0, plain))
	if len(out) > plain { // the tail of the last sector
		out = out[:plain]
	}
	return out, err
}

// zstdFrame cuts the first frame off what fills its last sector up. A block has a
// header of three bytes: last or not, its kind, its size (RFC 8878, 3.1.1.2).
func zstdFrame(b []byte) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return nil, err
	}
	if h.Skippable || h.WindowSize > maxWindow {
		return nil, fmt.Errorf("a frame that btrfs does not make (window of %d bytes)", h.WindowSize)
	}
	at := h.HeaderSize
	for last := false; !last; {
		if at+3 > len(b) {
			return nil, io.ErrUnexpectedEOF
		}
		head := uint32(b[at]) | uint32(b[at+1])<<8 | uint32(b[at+2])<<16
		last = head&1 != 0
		size := int(head >> 3)
		if head>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		at += 3 + size
	}
	if h.HasCheckSum {
		at += 4
	}
	if at > len(b) {
		return nil, io.ErrUnexpectedEOF
	}
	return b[:at], nil
}
