package iso9660

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	minRecord   = 34
	maxSections = 4096 // of a file: 16 TiB

	// Flags of a record.
	flagFolder     = 0x02
	flagAssociated = 0x04 // a fork of the file that follows
	flagMore       = 0x80 // the next record is another section of the same file
)

// section is a part of a file that lies in one piece.
type section struct{ at, size int64 }

// record is a directory record: with all sections of its file, if it is whole.
type record struct {
	at       int64 // on the volume
	length   int64 // bytes that it takes up
	flags    byte
	id       []byte // as it is stored: "\x00" is the folder itself, "\x01" the one above
	use      []byte // for the system use sharing protocol
	time     time.Time
	sections []section
	gaps     bool // interleaved
	rock     rock
}

func (r *record) folder() bool { return r.flags&flagFolder != 0 }

func (r *record) ino() uint64 { return uint64(r.at / 2) }

func (r *record) size() (n int64) {
	for _, s := range r.sections {
		n += s.size
	}
	return n
}

// isSelf reports whether it stands for the folder in which it lies, or the one above.
func (r *record) isSelf() bool { return len(r.id) == 1 && r.id[0] <= 1 }

// parseRecord reads one record, which b begins with and holds wholly.
func (v *volume) parseRecord(b []byte, at int64) (record, error) {
	bad := func(why string, args ...any) (record, error) {
		return record{}, &tree.CorruptError{What: "a directory record", Why: fmt.Sprintf(why, args...), At: at}
	}
	if len(b) < minRecord {
		return bad("%d bytes are left for it", len(b))
	}
	length, idLength := int(b[0]), int(b[32])
	if length < minRecord || length > len(b) || idLength == 0 || 33+idLength > length {
		return bad("it has %d bytes of %d, its name %d", length, len(b), idLength)
	}
	block, ok := both32(b[2:])
	size, ok2 := both32(b[10:])
	if !ok || !ok2 {
		return bad("its extent is %d, its size %d in one byte order, and others in the other", block, size)
	}
	r := record{at: at, length: int64(length), flags: b[25], id: b[33 : 33+idLength], time: shortTime(b[18:25]), gaps: b[26] != 0 || b[27] != 0}
	r.sections = []section{{(int64(block) + int64(b[1])) * v.block, int64(size)}}
	if from := (33 + idLength + 1) &^ 1; from < length {
		r.use = b[from:length]
	}
	return r, nil
}

// name is what a record is called where Rock Ridge does not say.
func (v *volume) name(r *record) string {
	if r.rock.name != "" {
		return r.rock.name
	}
	var s string
	if v.naming == joliet {
		s = bigEndian(r.id)
	} else {
		s = strings.ToLower(string(r.id))
	}
	s = strings.TrimSuffix(s, ";1")
	if v.naming != joliet && len(s) > 1 {
		s = strings.TrimSuffix(s, ".")
	}
	return s
}

// recordAt reads the record of an inode number with all sections of its file.
func (v *volume) recordAt(ino uint64) (record, error) {
	if ino == rootIno {
		return v.root, nil
	}
	at := int64(ino) * 2
	if ino >= 1<<62 || at < firstSector*sectorSize {
		return record{}, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	r, err := v.one(at)
	if err != nil {
		return record{}, err
	}
	if err := v.gather(&r, v.one); err != nil {
		return record{}, err
	}
	v.apply(&r)
	return r, nil
}

// one reads the record at a place of the volume, alone. Where a sector has none
// any more, it is the first of the next.
func (v *volume) one(at int64) (record, error) {
	for range 2 {
		begin := at / sectorSize * sectorSize
		b, err := v.sector(begin)
		if err != nil {
			return record{}, err
		}
		if b = b[at-begin:]; len(b) > 0 && b[0] != 0 {
			return v.parseRecord(b, at)
		}
		at = begin + sectorSize
	}
	return record{}, &tree.CorruptError{What: "a directory record", Why: "it is empty", At: at}
}

// gather adds the sections that follow in further records.
func (v *volume) gather(r *record, next func(at int64) (record, error)) error {
	last := *r
	for last.flags&flagMore != 0 {
		more, err := next(last.at + last.length)
		if err != nil {
			return fmt.Errorf("section %d of the file at %d: %w", len(r.sections)+1, r.at, err)
		}
		if string(more.id) != string(r.id) || len(r.sections) == maxSections {
			return &tree.CorruptError{What: "a directory record", At: r.at,
				Why: fmt.Sprintf("the next of its file is missing after %d sections", len(r.sections))}
		}
		r.sections = append(r.sections, more.sections...)
		r.gaps = r.gaps || more.gaps
		r.use, last = more.use, more // all have the same; the last one's counts
	}
	r.length = last.at + last.length - r.at
	return nil
}

// apply reads what Rock Ridge says of a record.
func (v *volume) apply(r *record) {
	if v.naming != rockRidge || r.ino() == rootIno {
		return
	}
	use := *r
	use.use = r.use[min(v.skip, len(r.use)):]
	r.rock = v.rock(use)
	if r.rock.child == 0 {
		return
	}
	// A folder that was moved: its own record there says what it is.
	moved := record{at: r.at, flags: flagFolder, sections: []section{{int64(r.rock.child) * v.block, sectorSize}}}
	self, err := v.self(&moved)
	if err != nil {
		r.rock.err = err
		return
	}
	name := r.rock.name
	r.sections, r.flags, r.time = self.sections, self.flags|flagFolder, self.time
	self.use = self.use[min(v.skip, len(self.use)):]
	r.rock = v.rock(self)
	r.rock.name, r.rock.child, r.rock.moved = name, 0, false
}

// self reads the first record of a folder, which is that of itself.
func (v *volume) self(folder *record) (record, error) {
	r, err := v.one(folder.sections[0].at)
	if err != nil {
		return r, err
	}
	if len(r.id) != 1 || r.id[0] != 0 || r.at != folder.sections[0].at || r.sections[0].at != r.at || !r.folder() {
		return r, &tree.CorruptError{What: fmt.Sprintf("folder %d", folder.ino()), Why: "it does not begin with the record of itself", At: r.at}
	}
	return r, nil
}

// sector reads one, and keeps it: records around it are asked for next.
func (v *volume) sector(at int64) ([]byte, error) {
	if b, ok := v.sectors.Get(at); ok {
		return b, nil
	}
	b := make([]byte, sectorSize)
	if err := tree.ReadFull(v.r, b, at); err != nil {
		return nil, fmt.Errorf("directory at %d of the volume: %w", at, err)
	}
	v.sectors.Put(at, b, sectorSize)
	return b, nil
}

// shortTime is a time of 7 bytes: years from 1900, and the offset to UTC in
// quarters of an hour.
func shortTime(b []byte) time.Time {
	return moment(1900+int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0, int8(b[6]))
}

// longTime is one of 16 digits and the offset.
func longTime(b []byte) time.Time {
	n := func(from, to int) (n int) {
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				return -1
			}
			n = 10*n + int(c-'0')
		}
		return n
	}
	return moment(n(0, 4), n(4, 6), n(6, 8), n(8, 10), n(10, 12), n(12, 14), n(14, 16), int8(b[16]))
}

// moment is no time where it is no date.
func moment(year, month, day, hour, minute, second, hundredths int, quarters int8) time.Time {
	if year < 1 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		second < 0 || second > 60 || hundredths < 0 {
		return time.Time{}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, hundredths*1e7, time.UTC)
	return t.Add(-time.Duration(quarters) * 15 * time.Minute)
}
