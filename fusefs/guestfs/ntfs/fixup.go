package ntfs

import "fmt"

// stride is what an update sequence guards with each of its numbers, whatever
// the size of a sector.
const stride = 512

// fixup undoes the update sequence of a record or block: the last two bytes of
// each stride were exchanged for a number when it was written, so that a write
// that was torn is seen. It returns what is wrong, or "".
func fixup(b []byte, magic string) string {
	if string(b[:4]) != magic {
		return fmt.Sprintf("it begins with %q and not with %s", b[:4], magic)
	}
	at, count := int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))
	if (count-1)*stride != len(b) || at%2 != 0 || at < 8 || at+2*count > stride-2 {
		return fmt.Sprintf("its update sequence has %d numbers at %d", count, at)
	}
	sequence := b[at : at+2*count]
	for i := 1; i < count; i++ {
		end := b[i*stride-2 : i*stride]
		if end[0] != sequence[0] || end[1] != sequence[1] {
			return fmt.Sprintf("sector %d of it is from another write", i-1)
		}
		copy(end, sequence[2*i:2*i+2])
	}
	return ""
}
