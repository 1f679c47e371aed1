package luks

import (
	"fmt"
	"io"
	"sync"
)

// Volume is the plain content. Reading is safe from several goroutines when the volume
// below is.
type Volume struct {
	r    io.ReaderAt
	c    sectorCipher
	data segment
	free sync.Pool // *[]byte of window bytes
}

// window is what is read and decrypted at a time, in bytes: of whole sectors of any size.
const window = 128 << 10

// Open gives the plain content with the key that [Header.Unlock] found.
func (h *Header) Open(k VolumeKey) (*Volume, error) {
	if h.refused != nil {
		return nil, h.refused
	}
	c, err := newCipher(h.data.cipher, k.key)
	if err != nil {
		return nil, err
	}
	return &Volume{r: h.r, c: c, data: h.data, free: sync.Pool{New: func() any { b := make([]byte, window); return &b }}}, nil
}

// Size is that of the plain content, in bytes.
func (v *Volume) Size() int64 { return v.data.len }

// ReadAt reads as io.ReaderAt does.
func (v *Volume) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	buf := v.free.Get().(*[]byte)
	defer v.free.Put(buf)
	done := 0
	for done < len(p) {
		if off >= v.data.len {
			return done, io.EOF
		}
		from := off - off%v.data.sector
		n := min(window, v.data.len-from, (off+int64(len(p)-done)-from+v.data.sector-1)/v.data.sector*v.data.sector)
		b := (*buf)[:n]
		if got, err := v.r.ReadAt(b, v.data.off+from); got < len(b) {
			return done, fmt.Errorf("encrypted sectors at %d: %w", v.data.off+from, orEOF(err))
		}
		for i := int64(0); i < n; i += v.data.sector {
			v.c.decrypt(b[i:i+v.data.sector], uint64(from+i)/sector+v.data.iv)
		}
		k := copy(p[done:], b[off-from:])
		done, off = done+k, off+int64(k)
	}
	return done, nil
}
