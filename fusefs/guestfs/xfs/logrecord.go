package xfs

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	sectorSize = 512 // of the log's own addresses, whatever the disk's sectors are

	magicRecord     = 0xfeedbabe
	recordHeader    = 328      // bytes of the header that its checksum covers
	recordHeader32  = 324      // the same where a 32-bit x86 wrote it
	recordExtension = 260      // of each further sector of a header
	recordStamped   = 32 << 10 // data whose stamps one sector of header keeps
	maxRecord       = 1 << 20
	linuxLittle     = 1 // h_fmt: items are little endian
	stampWidth      = 4
	stampsAt        = 44 // in the header
	stampsPerSector = 64
)

// journal is the log of a volume: a ring of sectors.
type journal struct {
	v       *volume
	r       io.ReaderAt // the volume without the overlay
	at      int64       // where it begins, in bytes of the volume
	sectors int64
}

// record is the head of a record of the log (xlog_rec_header).
type record struct {
	sector    int64 // of the ring, where it begins
	header    int64 // sectors
	length    int   // bytes of data after the header
	ops       int
	cycle     uint32 // how often the ring was gone through
	lsn, tail uint64 // cycle and sector; tail: the oldest record that still matters
	size      int    // of the buffers that the writer had
	crc       uint32
	unclear   string // why its items cannot be read, "" if they can
}

// end is the sector after the record.
func (r record) end() int64 { return r.header + (int64(r.length)+sectorSize-1)/sectorSize }

// read fills p from sectors of the ring, round its end.
func (j *journal) read(p []byte, sector int64) error {
	for len(p) > 0 {
		sector %= j.sectors
		n := min(int64(len(p)), (j.sectors-sector)*sectorSize)
		if got, err := j.r.ReadAt(p[:n], j.at+sector*sectorSize); int64(got) < n {
			return fmt.Errorf("read the log at sector %d: %w", sector, err)
		}
		p, sector = p[n:], sector+n/sectorSize
	}
	return nil
}

// parse decodes the head of a record from its first sector; false where none
// begins there.
func (j *journal) parse(b []byte, sector int64) (record, bool) {
	if be.Uint32(b) != magicRecord || !bytes.Equal(b[304:320], j.v.uuid[:]) {
		return record{}, false
	}
	r := record{sector: sector, header: 1, cycle: be.Uint32(b[4:]), length: int(be.Uint32(b[12:])), lsn: be.Uint64(b[16:]),
		tail: be.Uint64(b[24:]), crc: le.Uint32(b[32:]), ops: int(be.Uint32(b[40:])), size: int(be.Uint32(b[320:]))}
	if version := be.Uint32(b[8:]); version&2 != 0 && r.size > recordStamped {
		r.header = int64(r.size+recordStamped-1) / recordStamped
	}
	if format := be.Uint32(b[300:]); format != linuxLittle {
		r.unclear = fmt.Sprintf("it was written by a machine of another kind (format %d)", format)
	}
	if r.size > maxRecord || r.length > maxRecord || uint32(r.lsn>>32) != r.cycle || int64(uint32(r.lsn)) != sector ||
		int64(uint32(r.tail)) >= j.sectors || r.end() > j.sectors {
		return record{}, false
	}
	return r, true
}

// head reads the head of the record at a sector.
func (j *journal) head(sector int64) (record, bool, error) {
	var b [sectorSize]byte
	if err := j.read(b[:], sector); err != nil {
		return record{}, false, err
	}
	r, ok := j.parse(b[:], sector%j.sectors)
	return r, ok, nil
}

// load reads the data of a record as it was before each sector of it was stamped
// with the cycle; false where it is not whole.
func (j *journal) load(r record) ([]byte, bool, error) {
	b := make([]byte, r.end()*sectorSize)
	if err := j.read(b, r.sector); err != nil {
		return nil, false, err
	}
	if r.crc != 0 && r.crc != r.sum(b, recordHeader) && r.crc != r.sum(b, recordHeader32) {
		return nil, false, nil
	}
	data := b[r.header*sectorSize:]
	for i := 0; i*sectorSize < r.length; i++ {
		stamp := be.Uint32(data[i*sectorSize:])
		if stamp != r.cycle && !(stamp == r.cycle+1 && r.sector+r.header+int64(i) >= j.sectors) {
			return nil, false, nil
		}
		kept := b[stampsAt:]
		if k := int64(i / stampsPerSector); k > 0 {
			if k >= r.header {
				return nil, false, nil
			}
			kept = b[k*sectorSize+stampWidth:]
		}
		copy(data[i*sectorSize:][:stampWidth], kept[i%stampsPerSector*stampWidth:])
	}
	return data[:r.length], true, nil
}

// sum is the checksum of a record as it lies in the log.
func (r record) sum(b []byte, header int) uint32 {
	c := crcWithout(b[:header], 32)
	for i := int64(1); i < r.header; i++ {
		c = crc32.Update(c, castagnoli, b[i*sectorSize:][:recordExtension])
	}
	return crc32.Update(c, castagnoli, b[r.header*sectorSize:][:r.length])
}
