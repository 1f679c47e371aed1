package segment

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// Builder writes a segment in one pass and bounded memory.
type Builder struct {
	w    *bufio.Writer
	keys *content.Keys
	name string
	mac  *content.MAC // of the entries

	count uint64
	last  Entry
	entry [EntrySize]byte // that is being written
	fan   fanCount
}

// NewBuilder begins the segment that will lie at name, relative to the vault,
// to which its MACs are bound.
func NewBuilder(w io.Writer, keys *content.Keys, name string) *Builder {
	b := &Builder{w: bufio.NewWriterSize(w, 1<<20), keys: keys, name: name, mac: keys.NewMAC(name)}
	var h [headerSize]byte
	copy(h[:], magic)
	le.PutUint16(h[8:], Version)
	b.w.Write(h[:]) // its error comes back from Flush
	return b
}

// Add adds an entry. Entries come in ascending order of ID, pack and offset;
// one that is given twice is written once.
func (b *Builder) Add(e Entry) error {
	if b.count > 0 {
		c := b.last.compare(&e)
		if c == 0 {
			return nil
		}
		if c > 0 {
			return fmt.Errorf("segment %s: entry %s comes after %s", b.name, e.ID.Short(), b.last.ID.Short())
		}
	}
	if b.count == math.MaxUint32 {
		return fmt.Errorf("segment %s: more than %d entries", b.name, uint32(math.MaxUint32))
	}
	p := &b.entry
	copy(p[:], e.ID[:])
	le.PutUint32(p[32:], e.Pack)
	le.PutUint32(p[36:], e.Offset)
	le.PutUint32(p[40:], e.Length)
	b.mac.Write(p[:])
	if _, err := b.w.Write(p[:]); err != nil {
		return err
	}
	b.fan.add(&e.ID)
	b.count++
	b.last = e
	return nil
}

// Finish writes what follows the entries. The packs of the head are sorted by
// ID. Making the file durable is the
// caller's part.
func (b *Builder) Finish(h Head, points []Point) error {
	if err := checkPacks(h.Packs); err != nil {
		return fmt.Errorf("segment %s: %w", b.name, err)
	}
	fanBits := fanBitsFor(b.count)
	mac := b.keys.NewMAC(b.name)
	w := io.MultiWriter(b.w, mac)
	// Errors of writing stay in b.w and come back from Flush.
	w.Write(encodePacks(h.Packs))
	pointBytes := 0
	for i := range points {
		for _, part := range [][]byte{points[i].head(), []byte(points[i].Path), points[i].Record} {
			w.Write(part)
			pointBytes += len(part)
		}
	}
	w.Write(b.fan.out(fanBits))

	t := make([]byte, trailerSize)
	copy(t, h.Writer[:])
	le.PutUint64(t[8:], h.Seq)
	le.PutUint64(t[16:], uint64(h.Created.UnixNano()))
	le.PutUint64(t[24:], b.count)
	le.PutUint32(t[32:], uint32(len(h.Packs)))
	le.PutUint32(t[36:], uint32(fanBits))
	le.PutUint64(t[40:], uint64(pointBytes))
	le.PutUint16(t[48:], Version)
	entriesMAC := b.mac.Sum()
	copy(t[64:96], entriesMAC[:])
	w.Write(t[:96])
	headMAC := mac.Sum()
	copy(t[96:128], headMAC[:])
	copy(t[132:], endMagic)
	b.w.Write(t[96:])
	return b.w.Flush()
}

// fanBitsFor chooses a fan-out that costs at most about a tenth of the entries.
func fanBitsFor(count uint64) int {
	return min(max(bits.Len64(count)-4, 0), maxFanBits)
}

// fanCount counts entries by the first two bytes of their IDs.
type fanCount [1 << maxFanBits]uint32

func (f *fanCount) add(id *content.ID) { f[binary.BigEndian.Uint16(id[:])]++ }

// out returns, for each value of the first n bits of an ID, how many entries
// there are up to and with it.
func (f *fanCount) out(n int) []byte {
	out := make([]byte, 0, 4<<n)
	sum, width := uint32(0), 1<<(maxFanBits-n)
	for i, c := range f {
		sum += c
		if (i+1)%width == 0 {
			out = le.AppendUint32(out, sum)
		}
	}
	return out
}
