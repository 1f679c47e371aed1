package mdraid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrNotMember says that there is no superblock of md.
var ErrNotMember = errors.New("it is not a member of a software RAID (md)")

const (
	magic  = 0xa92b4efc
	sector = 512

	maxMembers = 1024    // that are looked at
	maxSectors = 1 << 52 // of one member
)

// Roles that are none in the array.
const (
	roleSpare   = -1
	roleFaulty  = -2
	roleJournal = -3
)

// Super is the superblock of a member.
type Super struct {
	Version string // 0.90, 1.0, 1.1, 1.2
	UUID    string // of the array, as mdadm prints it
	Name    string // of the array: md0 for one that has a number, else as it was given; "" for none
	Level   int    // md's number; -1: linear, -4: multipath, and so on
	Disks   int    // of the array
	Events  uint64 // how often the array's state changed

	layout    int
	chunk     int64 // bytes
	size      int64 // of each member that counts, bytes; 0: not written down
	dataOff   int64 // bytes
	dataLen   int64 // bytes
	device    int   // number of this member in roles
	roles     []int // of the members by number
	reshaping bool
	journal   bool  // writes lie in a journal first
	filledTo  int64 // of a member that is being filled, bytes; -1: it is not
	standIn   bool  // it replaces another of the same role
	clean     bool  // nothing was under way
	badBlocks bool
}

// role of the member by the superblock s, which may be that of another member.
func (s *Super) role(device int) int {
	if device < 0 || device >= len(s.roles) {
		return roleSpare
	}
	return s.roles[device]
}

// AtEnd tells whether the superblock lies behind the data, so that the member looks
// like what it holds.
func (s *Super) AtEnd() bool { return s.dataOff == 0 }

// Reach is where the data of the member ends, in bytes from its start.
func (s *Super) Reach() int64 { return s.dataOff + max(s.dataLen, s.size) }

// ReadSuper finds the superblock of a member of so many bytes. ErrNotMember: it has none
// that is right; other errors are those of r.
func ReadSuper(r io.ReaderAt, size int64) (*Super, error) {
	for _, place := range []struct {
		off     int64
		version string
	}{{0, "1.1"}, {4096, "1.2"}, {(size/sector - 16) &^ 7 * sector, "1.0"}} {
		s, err := read1(r, size, place.off, place.version)
		if !errors.Is(err, ErrNotMember) {
			return s, err
		}
	}
	return read090(r, size)
}

func readBlock(r io.ReaderAt, size, off int64, n int) ([]byte, error) {
	if off < 0 || off > size-int64(n) {
		return nil, ErrNotMember
	}
	b := make([]byte, n)
	if got, err := r.ReadAt(b, off); got < n {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, ErrNotMember
		}
		return nil, fmt.Errorf("read the superblock of md at %d: %w", off, err)
	}
	if binary.LittleEndian.Uint32(b) != magic {
		return nil, ErrNotMember
	}
	return b, nil
}

// sum adds the words of a superblock whose own checksum is at `at`, and folds it.
func sum(b []byte, at int) uint32 {
	le, total := binary.LittleEndian, uint64(0)
	for i := 0; i+4 <= len(b); i += 4 {
		if i != at {
			total += uint64(le.Uint32(b[i:]))
		}
	}
	if len(b)%4 == 2 {
		total += uint64(le.Uint16(b[len(b)-2:]))
	}
	return uint32(total) + uint32(total>>32)
}

// Whole tells, of a disk that has a partition table, too, whether the superblock is the
// disk's own and not that of its last partition, which may end where the disk does.
func (s *Super) Whole() bool {
	const slack = 128 << 10
	return s.Version != "0.90" || s.size > 0 && s.dataLen-s.size < slack+s.chunk
}
