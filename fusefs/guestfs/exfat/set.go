package exfat

import (
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	entrySize = clusters.EntrySize
	minOthers = 2 // entries after the first of a set: stream and a name
	maxOthers = 18
	maxSet    = (1 + maxOthers) * entrySize
	nameBytes = 30 // of a name in one entry
	maxUnits  = 255
	maxFolder = 256 << 20 // what the specification allows
)

// Types of entries. The highest bit is set while one is in use.
const (
	typeEnd    = 0x00
	typeBitmap = 0x81
	typeUpcase = 0x82
	typeLabel  = 0x83
	typeFile   = 0x85
	typeStream = 0xC0
	typeName   = 0xC1

	inUse     = 0x80
	secondary = 0x40 // belongs to the set before it
	benign    = 0x20 // may be passed over where it is not known
)

// Attributes of a file and flags of its stream.
const (
	attrReadOnly = 0x01
	attrFolder   = 0x10

	flagUnchained = 0x02
)

// fileSet is what the entries of one file or folder say.
type fileSet struct {
	ino           uint64
	name          string
	units         []byte // the name in UTF-16
	attrs         uint16
	unchained     bool
	cluster       uint32
	size, written int64
	// The last time it was changed, read, and when it was made.
	mtime, atime, btime time.Time
}

func (s *fileSet) at() int64 { return int64(s.ino) * entrySize }

func (s *fileSet) folder() bool { return s.attrs&attrFolder != 0 }

// setLength is how many bytes a set has whose first entry this is.
func setLength(first []byte) int { return (1 + int(first[1])) * entrySize }

// parseSet reads all entries of a set that begins at an offset of the volume.
// With an error comes as much of the name as there is, or a name for the place.
func parseSet(b []byte, at int64) (fileSet, error) {
	s := fileSet{ino: uint64(at / entrySize), attrs: le.Uint16(b[4:])}
	bad := func(why string, args ...any) (fileSet, error) {
		if !plausible(s.name) {
			s.name = fmt.Sprintf("entry at %d", at)
		}
		return s, &tree.CorruptError{What: fmt.Sprintf("the entry %q", s.name), Why: fmt.Sprintf(why, args...), At: at}
	}
	others := int(b[1])
	if others < minOthers || others > maxOthers || len(b) < setLength(b) {
		return bad("it has %d entries, of which %d are there", 1+others, len(b)/entrySize)
	}
	stream := b[entrySize:]
	if stream[0] != typeStream {
		return bad("its second entry is of type %#x", stream[0])
	}
	length := int(stream[3])
	for rest := b[2*entrySize:]; len(rest) > 0; rest = rest[entrySize:] {
		switch kind := rest[0]; {
		case kind == typeName && len(s.units) < 2*length:
			s.units = append(s.units, rest[2:2+min(nameBytes, 2*length-len(s.units))]...)
		case kind&benign == 0 && kind != typeName:
			return bad("it holds an entry of type %#x", kind)
		}
	}
	s.name = wtf8.Decode(s.units)
	if sum, want := checksum(b), le.Uint16(b[2:]); sum != want {
		return bad("its checksum is %#04x, it says %#04x", sum, want)
	}
	if length == 0 || len(s.units) != 2*length || !plausible(s.name) {
		return bad("no file can have this name")
	}
	s.unchained, s.cluster = stream[1]&flagUnchained != 0, le.Uint32(stream[20:])
	s.written, s.size = int64(le.Uint64(stream[8:])), int64(le.Uint64(stream[24:]))
	s.btime = stamp(le.Uint32(b[8:]), b[20], b[22])
	s.mtime = stamp(le.Uint32(b[12:]), b[21], b[23])
	s.atime = stamp(le.Uint32(b[16:]), 0, b[24])
	return s, nil
}

func plausible(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// checksum of a set, which leaves out the two bytes where it is kept.
func checksum(set []byte) (sum uint16) {
	for i, c := range set {
		if i == 2 || i == 3 {
			continue
		}
		sum = sum<<15 | sum>>1
		sum += uint16(c)
	}
	return sum
}

// stamp is a time: date and time of day in steps of 2 s, hundredths to add, and the
// offset to UTC in quarters of an hour where its highest bit is set. What is no date is no time.
func stamp(v uint32, hundredths, offset byte) time.Time {
	year, month, day := 1980+int(v>>25), int(v>>21&15), int(v>>16&31)
	hour, minute, second := int(v>>11&31), int(v>>5&63), int(v&31)*2
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 || hundredths > 199 {
		return time.Time{}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, int(hundredths)*1e7, time.UTC)
	if offset&0x80 != 0 {
		quarters := int(int8(offset<<1)) / 2
		t = t.Add(-time.Duration(quarters) * 15 * time.Minute)
	}
	return t
}
