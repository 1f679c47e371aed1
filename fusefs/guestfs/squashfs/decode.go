package squashfs

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// decoder decompresses src into dst, which is as long as the result may be at
// most, and returns how long it is. It may be called from several goroutines.
type decoder func(dst, src []byte) (int, error)

var errTooLong = errors.New("it is longer than a block may be")

// newDecoder returns the one of a method that the superblock names.
func newDecoder(method int) (decoder, error) {
	switch method {
	case 1:
		return inflate, nil
	case 3:
		return unlzo, nil
	case 4:
		return unxz, nil
	case 5:
		return func(dst, src []byte) (int, error) { return lz4.UncompressBlock(src, dst) }, nil
	case 6:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(2*maxBlock))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		return func(dst, src []byte) (int, error) {
			out, err := d.DecodeAll(src, dst[:0])
			if len(out) > len(dst) {
				return 0, errTooLong
			}
			if err == nil && len(out) > 0 && len(dst) > 0 && &out[0] != &dst[0] {
				copy(dst, out)
			}
			return len(out), err
		}, nil
	case 2:
		return nil, &tree.UnsupportedError{What: "the volume", Why: "it is compressed with lzma in the old way"}
	}
	return nil, &tree.CorruptError{What: "the superblock", Why: fmt.Sprintf("it names the compression %d", method), At: 0}
}

// fill reads all of r into dst.
func fill(dst []byte, r io.Reader) (n int, err error) {
	for n < len(dst) {
		m, err := r.Read(dst[n:])
		if n += m; err == io.EOF {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
	m, err := io.ReadFull(r, make([]byte, 1))
	if m > 0 {
		return n, errTooLong
	} else if err != io.EOF {
		return n, err
	}
	return n, nil
}

func inflate(dst, src []byte) (int, error) {
	r, err := zlib.NewReader(bytes.NewReader(src))
	if err != nil {
		return 0, err
	}
	n, err := fill(dst, r)
	return n, errors.Join(err, r.Close())
}

const (
	xzMagic     = "\xFD7zXZ\x00"
	xzHeader    = 12 // bytes of a stream's header
	xzSumCRC32  = 1
	filterLZMA2 = 0x21
)

// unxz reads the frame of xz itself: what its headers say of a dictionary is not
// trusted, since no match reaches back further than a block is long.
func unxz(dst, src []byte) (int, error) {
	if len(src) < xzHeader+8 || string(src[:6]) != xzMagic {
		return 0, errors.New("it is not in the frame of xz")
	}
	size, flags := (int(src[xzHeader])+1)*4, src[xzHeader+1]
	if xzHeader+size > len(src) || src[xzHeader] == 0 {
		return 0, errors.New("the header of its block is cut short")
	}
	header := src[xzHeader+2 : xzHeader+size]
	for _, bit := range []byte{0x40, 0x80} { // sizes that may be told
		for more := flags&bit != 0; more && len(header) > 0; header = header[1:] {
			more = header[0]&0x80 != 0
		}
	}
	if flags&3 != 0 || len(header) < 3 || header[0] != filterLZMA2 {
		return 0, &tree.UnsupportedError{What: "a block", Why: "it went through a filter of xz for machine code"}
	}
	in := bytes.NewReader(src[xzHeader+size:])
	r, err := lzma.Reader2Config{DictCap: max(len(dst), lzma.MinDictCap)}.NewReader2(in)
	if err != nil {
		return 0, err
	}
	n, err := fill(dst, r)
	if err != nil {
		return n, err
	}
	at := (len(src) - in.Len() + 3) &^ 3
	if src[7]&15 == xzSumCRC32 && (at+4 > len(src) || le.Uint32(src[at:]) != crc32.ChecksumIEEE(dst[:n])) {
		return n, errors.New("its checksum is wrong")
	}
	return n, nil
}
