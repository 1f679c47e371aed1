// Package wtf8 turns names that a guest keeps in UTF-16 (NTFS, FAT, exFAT) into
// Go strings and back, without loss: a surrogate that stands alone, which
// Windows allows in names, becomes the three bytes that UTF-8 would give its
// number if it did not forbid it ("WTF-8", https://simonsapin.github.io/wtf-8/).
// ntfs-3g names such files in the same way.
package wtf8

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// Decode decodes little-endian UTF-16; an odd byte at the end is passed over.
func Decode(b []byte) string {
	out := make([]byte, 0, len(b)/2)
	for i := 0; i+2 <= len(b); i += 2 {
		unit := rune(binary.LittleEndian.Uint16(b[i:]))
		switch {
		case unit < utf8.RuneSelf:
			out = append(out, byte(unit))
		case !utf16.IsSurrogate(unit):
			out = utf8.AppendRune(out, unit)
		default:
			if i+4 <= len(b) {
				low := rune(binary.LittleEndian.Uint16(b[i+2:]))
				if pair := utf16.DecodeRune(unit, low); pair != utf8.RuneError {
					out, i = utf8.AppendRune(out, pair), i+2
					continue
				}
			}
			out = append(out, 0xE0|byte(unit>>12), 0x80|byte(unit>>6&0x3F), 0x80|byte(unit&0x3F))
		}
	}
	return string(out)
}

// Encode returns the UTF-16 of a string: what Decode made of it. Bytes that are
// neither UTF-8 nor a lone surrogate become U+FFFD.
func Encode(s string) []uint16 {
	out := make([]uint16, 0, len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n <= 1 && len(s) >= 3 && s[0] == 0xED && s[1] >= 0xA0 && s[1] < 0xC0 && s[2]&0xC0 == 0x80 {
			out = append(out, 0xD000|uint16(s[1]&0x3F)<<6|uint16(s[2]&0x3F))
			s = s[3:]
			continue
		}
		out = utf16.AppendRune(out, r)
		s = s[n:]
	}
	return out
}
