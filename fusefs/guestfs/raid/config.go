package raid

import (
	"errors"
	"fmt"
	"io"
)

// Linear is the level of members that follow one another; others are numbers of md.
const Linear = -1

// Layouts of level 0 with members of several sizes.
const (
	Original  = 1 // as kernels before 3.14 had it
	Alternate = 2
)

// Bounds of an array.
const (
	maxMembers = 1024
	maxChunk   = 1 << 30 // bytes
	maxSize    = 1 << 62 // of all members
)

// Member is one place of an array.
type Member struct {
	R   io.ReaderAt // its data, from 0; nil: it is missing
	Len int64       // bytes of data; needed of a missing one, too, for Linear and level 0

	// Valid is how far a member that is being filled is right, in bytes; 0: all of it.
	Valid int64
}

// Config is what a superblock says of an array.
type Config struct {
	Level   int
	Layout  int
	Chunk   int64 // bytes; of no meaning for level 1
	Len     int64 // that each member gives to the array, bytes; of no meaning for Linear and level 0
	Size    int64 // of the array, bytes; 0: all that its members give
	Members []Member
}

// ErrTooFew says that more members are missing than the level can do without.
var ErrTooFew = errors.New("too many of its members are missing")

// Set is an array. Reading is safe from several goroutines when its members are.
type Set struct {
	c     Config
	size  int64
	zones []zone // of level 0 and Linear
	place placer // of levels 4 to 6
	far   geometry
}

// New checks a configuration. ErrTooFew: what is here does not give the data.
func New(c Config) (*Set, error) {
	if n := len(c.Members); n < 1 || n > maxMembers {
		return nil, fmt.Errorf("%d members are not possible", n)
	}
	chunked := c.Level != 1 && c.Level != Linear
	if chunked && (c.Chunk < 512 || c.Chunk > maxChunk || c.Chunk%512 != 0) {
		return nil, fmt.Errorf("chunks of %d bytes are not possible", c.Chunk)
	}
	if c.Len < 0 || c.Len > maxSize/maxMembers {
		return nil, fmt.Errorf("members of %d bytes are not possible", c.Len)
	}
	s := &Set{c: c}
	var err error
	switch c.Level {
	case Linear, 0:
		err = s.zoned()
	case 1:
		s.size = c.Len
		err = enough(c.Members, len(c.Members)-1)
	case 4, 5, 6:
		err = s.parity()
	case 10:
		err = s.mirrored()
	default:
		err = fmt.Errorf("level %d is not read", c.Level)
	}
	if err != nil {
		return nil, err
	}
	if c.Size < 0 || c.Size > s.size {
		return nil, fmt.Errorf("it would have %d bytes, and its members give %d", c.Size, s.size)
	}
	if c.Size > 0 {
		s.size = c.Size
	}
	return s, nil
}

// enough fails where more than so many members are missing.
func enough(members []Member, may int) error {
	missing := 0
	for _, m := range members {
		if m.R == nil {
			missing++
		}
	}
	if missing > may {
		return fmt.Errorf("%w: %d of %d", ErrTooFew, missing, len(members))
	}
	return nil
}

// Size is that of the array, in bytes.
func (s *Set) Size() int64 { return s.size }

// ReadAt reads as io.ReaderAt does.
func (s *Set) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	done := 0
	for done < len(p) {
		if off >= s.size {
			return done, io.EOF
		}
		b := p[done:int(min(int64(len(p)), int64(done)+s.size-off))]
		n, err := s.piece(b, off)
		done, off = done+n, off+int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// piece reads at least a byte at off, at most to the end of what lies together.
func (s *Set) piece(p []byte, off int64) (int, error) {
	switch s.c.Level {
	case Linear, 0:
		return s.readZone(p, off)
	case 1:
		return len(p), s.first(p, func(i int) (int, int64) { return i, off }, len(s.c.Members))
	case 10:
		return s.readMirrored(p, off)
	}
	return s.readParity(p, off)
}

// read fills p from one member.
func (s *Set) read(member int, p []byte, off int64) error {
	m := s.c.Members[member]
	if m.R == nil {
		return fmt.Errorf("member %d is missing", member)
	}
	if m.Valid > 0 && off+int64(len(p)) > m.Valid {
		return fmt.Errorf("member %d is filled to %d only", member, m.Valid)
	}
	n, err := m.R.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("member %d at %d: %w", member, off, err)
}

// first fills p from the first of n copies that can be read.
func (s *Set) first(p []byte, copyOf func(i int) (member int, off int64), n int) error {
	var failed error
	for i := range n {
		member, off := copyOf(i)
		err := s.read(member, p, off)
		if err == nil {
			return nil
		}
		if failed == nil || s.c.Members[member].R != nil {
			failed = err
		}
	}
	return failed
}
