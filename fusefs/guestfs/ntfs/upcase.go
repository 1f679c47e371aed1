package ntfs

import (
	"fmt"
	"io"
	"unicode"
)

// upcase is the volume's own table of upper case ($UpCase), by which its
// folders are sorted.
type upcase [1 << 16]uint16

// loadUpcase reads the table. Where it cannot be read, that of Unicode stands in
// for it, and err says why: names then may be found by searching only.
func (v *volume) loadUpcase() (*upcase, error) {
	u := new(upcase)
	b := make([]byte, 2*len(u))
	n, err := v.inode(upcaseRecord)
	var s *stream
	if err == nil {
		s, err = v.stream(n, kindData, "")
	}
	if err == nil && s.size != int64(len(b)) {
		err = fmt.Errorf("the table of upper case has %d bytes", s.size)
	}
	if err == nil {
		_, err = s.ReadAt(b, 0)
	}
	for i := range u {
		if u[i] = le.Uint16(b[2*i:]); err != nil && err != io.EOF {
			u[i] = unicodeUpper(uint16(i))
		}
	}
	if err == io.EOF {
		err = nil
	}
	return u, err
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
