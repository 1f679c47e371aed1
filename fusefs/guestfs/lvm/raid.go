package lvm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/raid"
)

// raid joins the legs of a segment.
func (b *builder) raid(v *Volume, s segMeta, depth int) (place, error) {
	if s.start != 0 {
		return place{}, &KindError{v.Name, s.kind + " behind other segments"}
	}
	data := int64(len(s.parts) - s.raid.spare)
	c := raid.Config{Level: s.raid.level, Layout: s.raid.layout, Chunk: s.stripe, Members: make([]raid.Member, len(s.parts))}
	missing := &MissingError{Volume: v.Name}
	states, notFilled := b.states(s, depth), 0
	for i, p := range s.parts {
		l := b.g.lvs[p.name]
		if l == nil {
			return place{}, fmt.Errorf("logical volume %s lies on %.40q, which the group does not have", v.Name, p.name)
		}
		at, err := b.place(v, p, depth)
		if lacks := (*MissingError)(nil); errors.As(err, &lacks) {
			missing.add(lacks.Missing)
			continue
		}
		if err != nil {
			return place{}, err
		}
		if l.rebuild || states[i] < 0 {
			notFilled++
			continue
		}
		c.Members[i] = raid.Member{R: at.r, Len: l.size(), Valid: states[i]}
		if c.Len == 0 || l.size() < c.Len {
			c.Len = l.size()
		}
	}
	if s.raid.level == 0 {
		for i := range c.Members {
			c.Members[i].Len = s.len / data
		}
	}
	set, err := raid.New(c)
	switch {
	case errors.Is(err, raid.ErrTooFew) && len(missing.Missing) > 0:
		return place{}, missing
	case err != nil:
		return place{}, fmt.Errorf("logical volume %s (%s): %w", v.Name, s.kind, err)
	case set.Size() < s.len:
		return place{}, fmt.Errorf("logical volume %s (%s): its legs give %d of %d bytes", v.Name, s.kind, set.Size(), s.len)
	}
	if n := len(missing.Missing); n > 0 || notFilled > 0 {
		v.Note = fmt.Sprintf("%d of its legs are on disks that are not here, %d are not filled: what they held is taken from the others", n, notFilled)
	}
	return place{r: set}, nil
}

// Fields of the superblock that device-mapper keeps in the volume of metadata of each
// leg, little endian.
const (
	dmMagic    = 0x64526d44
	dmEvents   = 16
	dmFailed   = 24 // a bit for each leg
	dmFilledTo = 32 // sectors; all ones: all of it
	dmSize     = 512
)

// states says of each leg how far it is filled by device-mapper's own superblocks: 0 all
// of it or not known, -1 not at all (it failed, or fell behind), else bytes.
func (b *builder) states(s segMeta, depth int) []int64 {
	states := make([]int64, len(s.parts))
	le := binary.LittleEndian
	supers, newest := make([][]byte, len(s.parts)), []byte(nil)
	for i, name := range s.rmeta {
		l := b.g.lvs[name]
		if l == nil || i >= len(supers) {
			continue
		}
		sb := make([]byte, dmSize)
		if n, _ := b.nested(l, depth+1).ReadAt(sb, 0); n < len(sb) || le.Uint32(sb) != dmMagic {
			continue
		}
		if supers[i] = sb; newest == nil || le.Uint64(sb[dmEvents:]) > le.Uint64(newest[dmEvents:]) {
			newest = sb
		}
	}
	for i, sb := range supers {
		switch {
		case sb == nil:
		case i < 64 && le.Uint64(newest[dmFailed:])>>i&1 == 1, le.Uint64(sb[dmEvents:])+1 < le.Uint64(newest[dmEvents:]):
			states[i] = -1
		case le.Uint64(sb[dmFilledTo:]) == 0:
			states[i] = -1
		case le.Uint64(sb[dmFilledTo:]) < maxSize/sectorSize:
			states[i] = int64(le.Uint64(sb[dmFilledTo:])) * sectorSize
		}
	}
	return states
}
