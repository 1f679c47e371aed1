package ntfs

import (
	"fmt"
	"unicode"
)

// upcase is the volume's own table of upper case ($UpCase), by which its
// folders are sorted.
type upcase [1 << 16]uint16

// loadUpcase reads the table. Where it cannot be read, that of Unicode stands in
// for it, and err says why: names then may be found by searching only.
func (v *volume) loadUpcase() (*upcase, error) {
	u := new(upcase)
	b, err := v.upcaseBytes(2 * len(u))
	for i := range u {
		if err != nil {
			u[i] = unicodeUpper(uint16(i))
		} else {
			u[i] = le.Uint16(b[2*i:])
		}
	}
	return u, err
}

func (v *volume) upcaseBytes(size int) ([]byte, error) {
	n, err := v.inode(upcaseRecord)
	if err != nil {
		return nil, err
	}
	b, err := v.value(n, kindData, "", int64(size))
	if err == nil && len(b) != size {
		err = fmt.Errorf("it has %d bytes, not %d", len(b), size)
	}
	return b, err
}

func unicodeUpper(c uint16) uint16 {
	if up := unicode.ToUpper(rune(c)); up < 1<<16 {
		return uint16(up)
	}
	return c
}

// fold returns a name in upper case.
func (u *upcase) fold(name []uint16) []uint16 {
	out := make([]uint16, len(name))
	for i, c := range name {
		out[i] = u[c]
	}
	return out
}

// compare compares a name as it lies on the volume with one in upper case, as a
// folder is sorted: by upper case first.
func (u *upcase) compare(name []byte, folded []uint16) int {
	n := len(name) / 2
	for i := range min(n, len(folded)) {
		if c := u[le.Uint16(name[2*i:])]; c != folded[i] {
			return int(c) - int(folded[i])
		}
	}
	return n - len(folded)
}

// same reports whether a name as it lies on the volume is exactly this one.
func same(name []byte, units []uint16) bool {
	if len(name) != 2*len(units) {
		return false
	}
	for i, c := range units {
		if le.Uint16(name[2*i:]) != c {
			return false
		}
	}
	return true
}
