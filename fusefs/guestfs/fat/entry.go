package fat

import (
	"bytes"
	"time"
	"unicode"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// Attributes of an entry.
const (
	attrReadOnly = 0x01
	attrLabel    = 0x08
	attrFolder   = 0x10
	attrLong     = 0x0F // all of them: a part of a long name
	attrMask     = 0x3F

	markFree    = 0xE5 // first byte: deleted
	markEnd     = 0x00 // nothing follows
	markE5      = 0x05 // stands for 0xE5, which some code pages need
	lowerBase   = 0x08 // Windows NT: the name is all in lower case
	lowerSuffix = 0x10
)

// entry is the short entry of a file or folder.
type entry struct {
	ino     uint64
	raw     [11]byte // name and suffix
	attrs   byte
	lower   byte
	cluster uint32
	size    int64
	created time.Time
	written time.Time
	read    time.Time
}

// at is where it lies on the volume.
func (e entry) at() int64 { return int64(e.ino) * entrySize }

func (e entry) folder() bool { return e.attrs&attrFolder != 0 }

// used reports whether 32 bytes of a folder are the entry of a file or folder.
func used(b []byte) bool {
	return b[0] != markFree && b[0] != markEnd && b[11]&attrLabel == 0
}

func parseEntry(b []byte, ino uint64, bits int) entry {
	e := entry{ino: ino, attrs: b[11], lower: b[12], cluster: uint32(le.Uint16(b[26:])), size: int64(le.Uint32(b[28:]))}
	copy(e.raw[:], b)
	if bits == 32 {
		e.cluster |= uint32(le.Uint16(b[20:])) << 16
	}
	if e.folder() {
		e.size = 0
	}
	e.created = dosTime(le.Uint16(b[16:]), le.Uint16(b[14:]), b[13])
	e.written = dosTime(le.Uint16(b[24:]), le.Uint16(b[22:]), 0)
	e.read = dosTime(le.Uint16(b[18:]), 0, 0)
	return e
}

// dosTime is a date, a time of 2 s, and hundredths of a second to add; what is no
// date is no time.
func dosTime(date, clock uint16, hundredths byte) time.Time {
	month, day := int(date>>5&15), int(date&31)
	hour, minute, second := int(clock>>11), int(clock>>5&63), int(clock&31)*2
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 || hundredths > 199 {
		return time.Time{}
	}
	return time.Date(1980+int(date>>9), time.Month(month), day, hour, minute, second, int(hundredths)*1e7, time.UTC)
}

// junk reports whether a short name holds what no system writes.
func (e entry) junk() bool {
	for i, c := range e.raw {
		if c < ' ' && (i > 0 || c != markE5) || c == '/' {
			return true
		}
	}
	return e.raw[0] == ' '
}

// short is the short name from its code page: "NAME.EXT", or lower case where
// Windows NT noted that it is to be.
func (e entry) short(page *codePage) string {
	raw := e.raw
	if raw[0] == markE5 {
		raw[0] = markFree
	}
	name := decode(page, raw[:8], e.lower&lowerBase != 0)
	if suffix := decode(page, raw[8:], e.lower&lowerSuffix != 0); suffix != "" {
		return name + "." + suffix
	}
	return name
}

func decode(page *codePage, b []byte, lower bool) string {
	b = bytes.TrimRight(b, " ")
	out := make([]rune, 0, len(b))
	for _, c := range b {
		r := page.DecodeByte(c)
		if lower {
			r = unicode.ToLower(r)
		}
		out = append(out, r)
	}
	return string(out)
}

// checksum of the short name is in each part of the long one that belongs to it.
func (e entry) checksum() (sum byte) {
	for _, c := range e.raw {
		sum = sum>>1 | sum<<7
		sum += c
	}
	return sum
}

const (
	partUnits = 13 // UTF-16 units in a part of a long name
	maxParts  = 20
	lastPart  = 0x40 // comes first
)

// long gathers the parts of a long name, which lie before the short entry, last part first.
type long struct {
	next  int // the part that must come now, from the end on; 0: all are there
	parts int // 0: none, or they were broken
	sum   byte
	units [maxParts * partUnits * 2]byte
}

// add takes a part: one that does not continue the last breaks the name.
func (l *long) add(b []byte) {
	number := int(b[0] &^ lastPart)
	if b[0]&lastPart != 0 {
		l.parts, l.next, l.sum = number, number, b[13]
	}
	if number == 0 || number > maxParts || number != l.next || l.parts == 0 || b[13] != l.sum {
		l.parts = 0
		return
	}
	to := l.units[(number-1)*partUnits*2:]
	copy(to, b[1:11])
	copy(to[10:], b[14:26])
	copy(to[22:], b[28:32])
	l.next--
}

// name returns the long name of an entry, or "" when it has none that is whole.
func (l *long) name(e entry) string {
	if l.parts == 0 || l.next != 0 || l.sum != e.checksum() {
		return ""
	}
	b := l.units[:l.parts*partUnits*2]
	for i := 0; i < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			b = b[:i]
			break
		}
	}
	return wtf8.Decode(b)
}
