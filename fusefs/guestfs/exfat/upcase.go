package exfat

import (
	"fmt"
	"unicode"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// upcase tells the upper case of each UTF-16 unit.
type upcase [1 << 16]uint16

const (
	maxUpcase = 2 << 16 // bytes: one unit for each
	sameRun   = 0xFFFF  // the next unit counts units that stand for themselves
)

// standard is Unicode's upper case, for volumes whose own table is damaged.
func standard() *upcase {
	u := new(upcase)
	for i := range u {
		u[i] = uint16(i)
		if r := unicode.ToUpper(rune(i)); r < 1<<16 {
			u[i] = uint16(r)
		}
	}
	return u
}

// parseUpcase reads a table, whose end may be left out where all stand for themselves.
func parseUpcase(b []byte) (*upcase, error) {
	u := new(upcase)
	for i := range u {
		u[i] = uint16(i)
	}
	at := 0
	for i := 0; i+2 <= len(b); i += 2 {
		unit := le.Uint16(b[i:])
		if unit == sameRun && i+4 <= len(b) {
			i += 2
			at += int(le.Uint16(b[i:]))
			continue
		}
		if at >= len(u) {
			return nil, fmt.Errorf("it has more than %d units", len(u))
		}
		u[at] = unit
		at++
	}
	return u, nil
}

// readUpcase reads the table that an entry of the root names.
func (v *volume) readUpcase(e clusters.Entry) (*upcase, error) {
	size := int64(le.Uint64(e.B[24:]))
	c := &clusters.Chain{Space: &v.space, What: "the up-case table", At: e.At, First: le.Uint32(e.B[20:]), Size: size, Written: size}
	if size <= 0 || size > maxUpcase {
		return nil, c.Corrupt("it has %d bytes", size)
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := c.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	sum := uint32(0)
	for _, x := range b {
		sum = sum<<31 | sum>>1
		sum += uint32(x)
	}
	if want := le.Uint32(e.B[4:]); sum != want {
		return nil, c.Corrupt("its checksum is %#08x, its entry says %#08x", sum, want)
	}
	u, err := parseUpcase(b)
	if err != nil {
		return nil, &tree.CorruptError{What: c.What, Why: err.Error(), At: v.place(c.First)}
	}
	return u, nil
}

// fold returns UTF-16 bytes in upper case.
func (u *upcase) fold(units []byte) []byte {
	out := make([]byte, len(units))
	for i := 0; i+2 <= len(units); i += 2 {
		le.PutUint16(out[i:], u[le.Uint16(units[i:])])
	}
	return out
}
