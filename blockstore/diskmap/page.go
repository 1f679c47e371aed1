package diskmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Fanout is the number of places in a page.
const Fanout = 64

const (
	fanBits     = 6
	pageVersion = 1
	pageHeader  = 16

	// MaxBlocks is how many blocks a disk has at most: 8 levels of pages.
	MaxBlocks = 1 << 48
	// MaxPage is the length of the largest encoded page, in bytes.
	MaxPage = pageHeader + Fanout*content.IDSize
)

// Errors of reading.
var (
	ErrDamaged = errors.New("damaged page")
	ErrVersion = errors.New("unknown version")
)

// Page is one page of a disk map. Level 1 is a leaf.
type Page struct {
	Level uint8
	IDs   [Fanout]content.ID
}

// Encode appends the page's bytes to b: level, version, a bitmap of the places
// that are not zero, and their IDs.
func (p *Page) Encode(b []byte) []byte {
	b = append(b, p.Level, pageVersion, 0, 0, 0, 0, 0, 0)
	at := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	var used uint64
	for i := range p.IDs {
		if !p.IDs[i].IsZero() {
			used |= 1 << i
			b = append(b, p.IDs[i][:]...)
		}
	}
	binary.LittleEndian.PutUint64(b[at:], used)
	return b
}

// isZero tells whether the page maps nothing but zeros.
func (p *Page) isZero() bool { return p.IDs == [Fanout]content.ID{} }

// Decode reads what Encode wrote. A page of another level than expected is
// damage.
func Decode(b []byte, level int) (*Page, error) {
	if len(b) < pageHeader {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if b[1] != pageVersion {
		return nil, fmt.Errorf("page of version %d, this program knows %d: %w", b[1], pageVersion, ErrVersion)
	}
	used := binary.LittleEndian.Uint64(b[8:])
	if int(b[0]) != level || len(b) != pageHeader+bits.OnesCount64(used)*content.IDSize {
		return nil, fmt.Errorf("%w: level %d of %d bytes where level %d was expected", ErrDamaged, b[0], len(b), level)
	}
	p := &Page{Level: b[0]}
	for rest := b[pageHeader:]; used != 0; used &= used - 1 {
		i := bits.TrailingZeros64(used)
		p.IDs[i] = content.ID(rest[:content.IDSize])
		if p.IDs[i].IsZero() {
			return nil, fmt.Errorf("%w: it lists a zero ID", ErrDamaged)
		}
		rest = rest[content.IDSize:]
	}
	return p, nil
}

// Levels is the height of the tree for a number of blocks up to [MaxBlocks], at
// least 1.
func Levels(blocks int64) int {
	levels := 1
	for span := int64(Fanout); span < blocks; span <<= fanBits {
		levels++
	}
	return levels
}

// Span is how many blocks a node of a level covers: 1 for a block, at level 0.
func Span(level int) int64 { return 1 << (fanBits * level) }
