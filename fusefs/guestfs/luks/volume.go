package luks

import (
	"crypto/sha256"
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
	key  string    // names key and cipher, and tells neither
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
	return &Volume{r: h.r, c: c, data: h.data, key: nameKey(h.data, k.key), free: sync.Pool{New: func() any { b := make([]byte, window); return &b }}}, nil
}

// nameKey names a key, for whoever compares encrypted parts of two volumes without
// reading them. It leads back to nothing.
func nameKey(d segment, key []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "holdfast: name of a volume key\x00%s\x00%d\x00", d.cipher, d.sector)
	sum.Write(key)
	return fmt.Sprintf("luks %x", sum.Sum(nil)[:16])
}

// Below says in which reader a part of the plain content lies encrypted, and where: whole
// sectors, which may be more than the part. how names what decrypts them there, and what
// the part is of them: the key, the number of the first sector, and where in it the part begins.
func (v *Volume) Below(off, n int64) (r io.ReaderAt, at, length int64, how string) {
	from := off - off%v.data.sector
	to := min((off+n+v.data.sector-1)/v.data.sector*v.data.sector, v.data.len)
	return v.r, v.data.off + from, to - from, fmt.Sprintf("%s at %d+%d;", v.key, uint64(from)/sector+v.data.iv, off-from)
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
