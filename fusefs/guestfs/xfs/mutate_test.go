package xfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// edited is an image in memory with some pages changed, which counts what is read
// of it.
type edited struct {
	base  []byte
	pages map[int64][]byte
	calls int
	bytes int64
}

func (e *edited) ReadAt(p []byte, at int64) (int, error) {
	e.calls++
	e.bytes += int64(len(p))
	if at < 0 || at >= int64(len(e.base)) {
		return 0, io.EOF
	}
	n := copy(p, e.base[at:])
	for page := at / fixturePage; page <= (at+int64(n)-1)/fixturePage; page++ {
		if b := e.pages[page]; b != nil {
			if from := page * fixturePage; from < at {
				copy(p[:n], b[at-from:])
			} else {
				copy(p[from-at:n], b)
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (e *edited) write(at int64, b []byte) {
	for ; len(b) > 0; b, at = b[1:], at+1 {
		page := at / fixturePage
		if at >= int64(len(e.base)) {
			return
		}
		if e.pages[page] == nil {
			e.pages[page] = bytes.Clone(e.base[page*fixturePage:][:fixturePage])
		}
		e.pages[page][at%fixturePage] = b[0]
	}
}

func (e *edited) get(at int64, n int) []byte {
	b := make([]byte, n)
	e.ReadAt(b, at)
	return b
}

// fix makes the checksum right of what a byte of a version 5 image lies in, so that
// a change goes further than the check of it.
func (e *edited) fix(s *super, at int64) {
	write := func(from int64, b []byte, crc int) {
		e.write(from+int64(crc), le.AppendUint32(nil, crcWithout(b, crc)))
	}
	if at < int64(s.sector) {
		write(0, e.get(0, s.sector), 224)
		return
	}
	from := at / int64(s.inode) * int64(s.inode)
	if b := e.get(from, s.inode); be.Uint16(b) == magicInode {
		write(from, b, 100)
		return
	}
	if log, _ := s.address(s.logStart, s.logBlocks); at >= log && at < log+int64(s.logBlocks)*int64(s.block) {
		e.fixRecord(s, log, at)
		return
	}
	from = at / int64(s.block) * int64(s.block)
	b := e.get(from, s.block)
	switch be.Uint32(b) {
	case magicMapV5:
		write(from, b, stampMap.crc)
	case magicDirBlockV5, magicDirDataV5:
		write(from, b, stampDir.crc)
	case magicLink, magicFarValue:
		write(from, b, stampRemote.crc)
	default:
		switch be.Uint16(b[8:]) {
		case magicHashNodeV5, magicLeaf1V5, magicLeafNV5, magicAttrLeafV5:
			write(from, b, stampHash.crc)
		}
	}
}

// fixRecord makes the checksum right of the record of the log that a byte lies in.
func (e *edited) fixRecord(s *super, log, at int64) {
	for sector := at / sectorSize; sector >= log/sectorSize && sector > at/sectorSize-600; sector-- {
		b := e.get(sector*sectorSize, sectorSize)
		if be.Uint32(b) != magicRecord {
			continue
		}
		r := record{header: 1, length: int(be.Uint32(b[12:])), size: int(be.Uint32(b[320:]))}
		if r.size > recordStamped {
			r.header = int64(r.size+recordStamped-1) / recordStamped
		}
		if r.length > maxRecord || r.size > maxRecord {
			return
		}
		whole := e.get(sector*sectorSize, int(r.end())*sectorSize)
		e.write(sector*sectorSize+32, le.AppendUint32(nil, r.sum(whole, recordHeader)))
		return
	}
}

// Limits of what reading all of a hostile image may take.
const (
	mayCall    = 400_000
	mayRead    = 4 << 30
	mayVisit   = 4000
	mayExtents = 20000
)

// readAll reads everything there is in a volume, as far as limits go, and tells how
// many of its structures were damaged. It fails the test for errors that no one can
// act on.
func readAll(t testing.TB, r *edited, size int64, o tree.Options) (damaged int) {
	v, err := Format.Open(r, size, o)
	if err != nil {
		return 1
	}
	judge := func(err error) {
		if err == nil {
			return
		}
		damaged++
		if errors.Is(err, io.EOF) || err.Error() == "" {
			t.Errorf("damage is told as %v", err)
		}
	}
	v.Info()
	seen := map[uint64]bool{}
	buffer := make([]byte, 64<<10)
	for next := []uint64{v.Root()}; len(next) > 0 && len(seen) < mayVisit; next = next[1:] {
		ino := next[0]
		if seen[ino] {
			continue
		}
		seen[ino] = true
		a, err := v.Stat(ino)
		judge(err)
		names, err := v.Xattrs(ino)
		judge(err)
		for _, name := range names[:min(len(names), 100)] {
			_, err := v.Xattr(ino, name)
			judge(err)
		}
		switch a.Mode & typeMask {
		case typeDir:
			for e, err := range v.ReadDir(ino) {
				judge(err)
				if _, err := v.Lookup(ino, e.Name); err != nil {
					damaged++
				}
				if next = append(next, e.Ino); len(next) > mayVisit {
					break
				}
			}
		case typeLink:
			_, err := v.Readlink(ino)
			judge(err)
		case typeRegular:
			f, err := v.Open(ino)
			judge(err)
			if err == nil {
				judge(readSome(f, a.Size, buffer))
			}
		}
	}
	modest(t, r)
	return damaged
}

func readSome(f tree.File, size int64, buffer []byte) error {
	n := 0
	for e, err := range f.Extents() {
		if err != nil {
			return err
		}
		if n++; n > mayExtents {
			break
		}
		if e.Len <= 0 || e.Off < 0 || e.Off+e.Len > size {
			return fmt.Errorf("extent %v of %d bytes", e, size)
		}
	}
	for i, at := range []int64{0, size / 2, size - 100, size} {
		if at < 0 || i > 0 && size < int64(len(buffer)) {
			continue
		}
		if _, err := f.ReadAt(buffer, at); err != nil && err != io.EOF {
			return err
		}
	}
	return nil
}

func modest(t testing.TB, r *edited) {
	t.Helper()
	if r.calls > mayCall || r.bytes > mayRead {
		t.Errorf("it took %d reads of %d bytes", r.calls, r.bytes)
	}
}

// places are the sectors of an image that hold something.
func places(image []byte) []int64 {
	var all []int64
	for at := int64(0); at < int64(len(image)); at += sectorSize {
		if !bytes.Equal(image[at:at+sectorSize], make([]byte, sectorSize)) {
			all = append(all, at)
		}
	}
	return all
}

// edit changes an image by what data says: eight bytes a change, of which four tell
// where, one how and two or three what.
func (e *edited) edit(s *super, where []int64, data []byte) {
	for ; len(data) >= 8; data = data[8:] {
		n := be.Uint32(data)
		at := where[int(n/sectorSize)%len(where)] + int64(n%sectorSize)
		switch data[4] % 6 {
		case 0:
			e.write(at, data[5:6])
		case 1:
			e.write(at&^1, data[5:7])
		case 2:
			e.write(at&^3, be.AppendUint32(nil, uint32(data[5])<<(data[6]%32)))
		case 3:
			e.write(at&^3, []byte{0xff, 0xff, 0xff, data[5]})
		case 4: // a pointer to another place
			e.write(at&^3, be.AppendUint32(nil, uint32(where[(int(data[5])<<8|int(data[6]))%len(where)]/int64(s.block))))
		case 5: // a piece of another sector
			from := where[(int(data[5])<<8|int(data[6]))%len(where)]
			e.write(at&^63, e.get(from+int64(data[7]%8)*64, 64))
		}
		e.fix(s, at)
	}
}
