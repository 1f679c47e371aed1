package btrfs

import (
	"fmt"
	"slices"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Profiles of a chunk, in its type.
const (
	profileRaid0  = 1 << 3
	profileRaid1  = 1 << 4
	profileDup    = 1 << 5
	profileRaid10 = 1 << 6
	profileRaid5  = 1 << 7
	profileRaid6  = 1 << 8
	profileC3     = 1 << 9
	profileC4     = 1 << 10
	profileMask   = ^uint64(7)
	profileKnown  = (1<<11 - 1) & profileMask
)

const (
	chunkHeader = 48
	stripeSize  = 32
	maxStripes  = 1024
	chunkCost   = 128 // bytes of memory, stripes apart
)

// stripe is a place on a device.
type stripe struct{ device, off uint64 }

// chunk maps a run of logical addresses to devices.
type chunk struct {
	start, length uint64
	stripeLen     uint64 // bytes that lie on a device before the next one's turn
	profile       uint64
	sub           int // copies of each stripe in RAID10
	stripes       []stripe
}

func (c *chunk) end() uint64 { return c.start + c.length }

// chunks is the whole mapping, sorted, without overlaps.
type chunks struct {
	list   []chunk
	memory int64 // that may still be taken
}

// parseChunk reads a chunk and returns how many bytes it took. Layout: btrfs_chunk,
// btrfs_stripe.
func parseChunk(start uint64, b []byte) (chunk, int, error) {
	what := fmt.Sprintf("the chunk at logical address %d", start)
	if len(b) < chunkHeader+stripeSize {
		return chunk{}, 0, corrupt(what, "it has %d bytes", len(b))
	}
	c := chunk{start: start, length: le.Uint64(b), stripeLen: le.Uint64(b[16:]), profile: le.Uint64(b[24:]) & profileMask, sub: int(le.Uint16(b[46:]))}
	n := int(le.Uint16(b[44:]))
	size := chunkHeader + n*stripeSize
	switch {
	case n == 0 || n > maxStripes || len(b) < size:
		return chunk{}, 0, corrupt(what, "%d stripes in %d bytes", n, len(b))
	case c.length == 0 || c.end() < start:
		return chunk{}, 0, corrupt(what, "a length of %d", c.length)
	case c.stripeLen < 4096 || c.stripeLen > 1<<30 || c.stripeLen&(c.stripeLen-1) != 0:
		return chunk{}, 0, corrupt(what, "stripes of %d bytes", c.stripeLen)
	case c.profile&profileRaid10 != 0 && (c.sub == 0 || n%c.sub != 0),
		c.profile&profileRaid5 != 0 && n < 2, c.profile&profileRaid6 != 0 && n < 3:
		return chunk{}, 0, corrupt(what, "%d stripes, %d alike, do not make its profile", n, c.sub)
	case c.profile&^profileKnown != 0 || c.profile&(c.profile-1) != 0:
		return chunk{}, 0, unsupported(what, "its profile (%#x) is not known here", c.profile)
	}
	for i := range n {
		p := b[chunkHeader+i*stripeSize:]
		s := stripe{le.Uint64(p), le.Uint64(p[8:])}
		if s.off > maxSuperDev || c.length > maxSuperDev {
			return chunk{}, 0, corrupt(what, "it lies at %d of device %d", s.off, s.device)
		}
		c.stripes = append(c.stripes, s)
	}
	return c, size, nil
}

// add takes a chunk in. One that is there already stays: the superblock has some of
// those in the tree.
func (m *chunks) add(c chunk) error {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].start >= c.start })
	if i < len(m.list) && m.list[i].start == c.start {
		m.list[i] = c
		return m.apart(i)
	}
	if m.memory -= chunkCost + int64(len(c.stripes))*16; m.memory < 0 {
		return unsupported("the volume", "its %d chunks take more memory than is allowed", len(m.list))
	}
	m.list = slices.Insert(m.list, i, c)
	return m.apart(i)
}

// apart sees to it that a chunk does not overlap its neighbours.
func (m *chunks) apart(i int) error {
	if i > 0 && m.list[i-1].end() > m.list[i].start || i+1 < len(m.list) && m.list[i].end() > m.list[i+1].start {
		return corrupt(fmt.Sprintf("the chunk at logical address %d", m.list[i].start), "it overlaps another")
	}
	return nil
}

// find returns the chunk that holds a logical address.
func (m *chunks) find(logical uint64) (*chunk, error) {
	i := sort.Search(len(m.list), func(i int) bool { return m.list[i].start > logical }) - 1
	if i < 0 || logical >= m.list[i].end() {
		return nil, &tree.CorruptError{What: fmt.Sprintf("the reference to logical address %d", logical), Why: "no chunk holds that address", At: -1}
	}
	return &m.list[i], nil
}

// addArray takes in the chunks of the superblock, each behind its key.
func (m *chunks) addArray(b []byte) error {
	for len(b) > 0 {
		if len(b) < keySize {
			return corrupt("the superblock's array of chunks", "%d bytes are left over", len(b))
		}
		k := parseKey(b)
		if k.kind != typeChunk {
			return corrupt("the superblock's array of chunks", "item %v is none", k)
		}
		c, n, err := parseChunk(k.off, b[keySize:])
		if err == nil {
			err = m.add(c)
		}
		if err != nil {
			return err
		}
		b = b[keySize+n:]
	}
	return nil
}
