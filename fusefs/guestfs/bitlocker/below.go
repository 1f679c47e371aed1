package bitlocker

import (
	"crypto/sha256"
	"fmt"
	"io"
)

// nameKey names a key, for whoever compares encrypted parts of two volumes without
// reading them. It leads back to nothing.
func nameKey(method uint16, sector int64, key []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "holdfast: name of a BitLocker key\x00%d\x00%d\x00", method, sector)
	sum.Write(key)
	return fmt.Sprintf("bitlocker %x", sum.Sum(nil)[:16])
}

// Below says what a part of the plain content is made of, from its beginning on as far as
// that is of one kind: count bytes of it lie, encrypted, in so many bytes of r, whole
// sectors. how names what decrypts them there, and what the part is of them: the key, where
// the first sector lies in the volume, and where in it the part begins. A nil r: these are zeros, whatever the volume holds. ok is false past the end.
func (v *Volume) Below(off, n int64) (r io.ReaderAt, at, length, count int64, how string, ok bool) {
	if off < 0 || n <= 0 || off >= v.Size() {
		return nil, 0, 0, 0, "", false
	}
	i := v.segment(off)
	s := v.segments[i]
	count = min(n, v.segments[i+1].off-off)
	if s.kind == zeros {
		return nil, 0, 0, count, "", true
	}
	first := s.at + off - s.off
	from := first - first%v.sector
	to := (first + count + v.sector - 1) / v.sector * v.sector
	return v.r, from, to - from, count, fmt.Sprintf("%s at %d+%d;", v.key, from, first-from), true
}
