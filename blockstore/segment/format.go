package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Version is the version of the format that this program writes, and the only
// one that it reads.
const Version = 1

const (
	magic      = "HOLDSEGM"
	endMagic   = "HFSE"
	headerSize = 16
	// EntrySize is the length of an entry in bytes.
	EntrySize    = 44
	packSize     = 32
	trailerSize  = 136
	pointHead    = 12
	maxFanBits   = 16
	maxPoint     = 16 << 20 // bytes of one point's path or record
	maxHeadBytes = 8 << 30
	maxRecord    = 56 + 1<<20 // bytes of a record of a pack
)

// Errors of reading.
var (
	ErrDamaged = errors.New("damaged segment")
	ErrVersion = errors.New("unknown version")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

var le = binary.LittleEndian

// checkPacks tells whether packs are sorted by ID, none twice: entries of equal
// ID are in the order of their packs' IDs in every segment then, and merge.
func checkPacks(packs []Pack) error {
	for i := 1; i < len(packs); i++ {
		if slices.Compare(packs[i-1].ID[:], packs[i].ID[:]) >= 0 {
			return damaged("its packs %x and %x are out of order", packs[i-1].ID, packs[i].ID)
		}
	}
	return nil
}

// Pack is a pack that entries of a segment name.
type Pack struct {
	ID      [16]byte
	Size    int64 // bytes of the whole file
	Records uint32
	Class   uint8
}

// Entry says where one copy of the content of an ID lies.
type Entry struct {
	ID             content.ID
	Pack           uint32 // index into the segment's packs
	Offset, Length uint32 // of the record
}

func (e *Entry) compare(f *Entry) int {
	if c := compareIDs(&e.ID, &f.ID); c != 0 {
		return c
	}
	if e.Pack != f.Pack {
		if e.Pack < f.Pack {
			return -1
		}
		return 1
	}
	return cmp.Compare(e.Offset, f.Offset)
}

func compareIDs(a, b *content.ID) int {
	x, y := binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:])
	if x != y {
		if x < y {
			return -1
		}
		return 1
	}
	for i := 8; i < len(a); i++ {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

// Event tells what became of a recovery point, or of a pack.
type Event uint8

// The events. Their values are part of the format.
const (
	Committed Event = 1
	Dropped   Event = 2
	Removed   Event = 3 // a pack, by sweep: its being gone is no loss
)

// Point is a recovery point that a segment tells of.
type Point struct {
	Event  Event
	Path   string // of its record, or of the pack, relative to the vault
	Record []byte // the whole record of a committed point; empty for a dropped one
}

// Head is what a segment holds besides its entries.
type Head struct {
	Writer  [8]byte
	Seq     uint64
	Created time.Time
	Packs   []Pack
}

func encodePacks(packs []Pack) []byte {
	b := make([]byte, 0, len(packs)*packSize)
	for _, p := range packs {
		b = append(b, p.ID[:]...)
		b = le.AppendUint64(b, uint64(p.Size))
		b = le.AppendUint32(b, p.Records)
		b = append(b, p.Class, 0, 0, 0)
	}
	return b
}

func decodePacks(b []byte) []Pack {
	packs := make([]Pack, len(b)/packSize)
	for i := range packs {
		p := b[i*packSize:]
		packs[i] = Pack{[16]byte(p[:16]), int64(le.Uint64(p[16:])), le.Uint32(p[24:]), p[28]}
	}
	return packs
}

// head begins a point in the list: event, and the lengths of what follows.
func (p *Point) head() []byte {
	b := append(make([]byte, 0, pointHead), byte(p.Event), 0, 0, 0)
	b = le.AppendUint32(b, uint32(len(p.Path)))
	return le.AppendUint32(b, uint32(len(p.Record)))
}

// eachPoint calls fn for each point in the list b, whose records alias it.
func eachPoint(b []byte, fn func(Point) error) error {
	for len(b) > 0 {
		if len(b) < pointHead {
			return damaged("its list of points ends early")
		}
		path, record := int64(le.Uint32(b[4:])), int64(le.Uint32(b[8:]))
		event := Event(b[0])
		b = b[pointHead:]
		if path > maxPoint || record > maxPoint || path+record > int64(len(b)) || event < Committed || event > Removed {
			return damaged("its list of points does not add up")
		}
		if err := fn(Point{event, string(b[:path]), b[path : path+record : path+record]}); err != nil {
			return err
		}
		b = b[path+record:]
	}
	return nil
}

// Sort puts entries into the order that a segment has.
func Sort(entries []Entry) {
	slices.SortFunc(entries, func(a, b Entry) int { return a.compare(&b) })
}
