package raid

import (
	"fmt"
	"slices"
	"sort"
)

// zone is a run of an array over members that all reach as far.
type zone struct {
	start, len int64
	at         int64 // where it begins on each member
	members    []int
}

// zoned lays out Linear, a zone for each member, and level 0, whose zones end where the
// smallest of the members that are left does.
func (s *Set) zoned() error {
	if err := enough(s.c.Members, 0); err != nil {
		return err
	}
	lens := make([]int64, len(s.c.Members))
	for i, m := range s.c.Members {
		if m.Len < 0 || m.Len > maxSize/maxMembers {
			return fmt.Errorf("a member of %d bytes is not possible", m.Len)
		}
		lens[i] = m.Len
		if s.c.Chunk > 0 {
			lens[i] -= m.Len % s.c.Chunk
		}
	}
	add := func(at, each int64, members []int) {
		z := zone{s.size, each * int64(len(members)), at, members}
		s.zones = append(s.zones, z)
		s.size += z.len
	}
	if s.c.Level == Linear {
		for i, n := range lens {
			add(0, n, []int{i})
		}
		return nil
	}
	for at := int64(0); ; {
		var members []int
		end := int64(maxSize)
		for i, n := range lens {
			if n > at {
				members, end = append(members, i), min(end, n)
			}
		}
		if len(members) == 0 {
			break
		}
		add(at, end-at, members)
		at = end
	}
	if len(s.zones) > 1 && len(s.zones[1].members) > 1 && s.c.Layout != Original && s.c.Layout != Alternate {
		return fmt.Errorf("its members have several sizes, and which of the two layouts of kernels before and since 3.14 it has is not written down")
	}
	return nil
}

func (s *Set) readZone(p []byte, off int64) (int, error) {
	i := sort.Search(len(s.zones), func(i int) bool { return s.zones[i].start+s.zones[i].len > off })
	z := s.zones[i]
	within, left := off-z.start, z.start+z.len-off
	member, at := z.members[0], z.at+within
	if n := int64(len(z.members)); n > 1 {
		chunk := within / s.c.Chunk
		row, pick := chunk/n, chunk%n
		if s.c.Layout == Original {
			pick = off / s.c.Chunk % n
		}
		member, at = z.members[pick], z.at+row*s.c.Chunk+within%s.c.Chunk
		left = s.c.Chunk - within%s.c.Chunk
	}
	p = p[:min(int64(len(p)), left)]
	if err := s.read(member, p, at); err != nil {
		return 0, err
	}
	return len(p), nil
}

// geometry is the layout of level 10.
type geometry struct {
	near, far int64
	stride    int64 // between the copies on far parts, bytes
	offset    bool  // copies lie in the next chunk, not in another half
	set       int64 // members among which far copies go round
}

// mirrored checks the layout of level 10: its low byte counts near copies, the next far
// ones; bit 16: at an offset; the bits above: how far copies go round.
func (s *Set) mirrored() error {
	n, l := int64(len(s.c.Members)), s.c.Layout
	g := geometry{near: int64(l & 0xff), far: int64(l >> 8 & 0xff), offset: l>>16&1 == 1, set: n}
	if g.near < 1 || g.far < 1 || g.near*g.far > n || l>>17 > 2 {
		return fmt.Errorf("layout %#x of level 10 is not possible with %d members", l, n)
	}
	switch l >> 17 {
	case 1:
		g.set = n / g.far
	case 2:
		g.set = g.far * g.near
	}
	if g.set < 1 || g.set > n {
		return fmt.Errorf("layout %#x of level 10 is not possible with %d members", l, n)
	}
	chunks := s.c.Len / s.c.Chunk
	used := chunks / g.far * n / g.near
	s.size = used * s.c.Chunk
	g.stride = s.c.Chunk
	if !g.offset {
		each := (used*g.near*g.far + n - 1) / n
		g.stride = each / g.far * s.c.Chunk
	}
	s.far = g
	return s.covered(chunks)
}

// covered fails where all copies of some chunk are missing. The pattern repeats with the
// number of members.
func (s *Set) covered(chunks int64) error {
	for chunk := range min(int64(len(s.c.Members)), s.size/max(s.c.Chunk, 1)) {
		members, _ := s.copies(chunk)
		if !slices.ContainsFunc(members, func(m int) bool { return s.c.Members[m].R != nil }) {
			return ErrTooFew
		}
	}
	return nil
}

// copies says where the copies of a chunk lie.
func (s *Set) copies(chunk int64) (members []int, offs []int64) {
	n, g := int64(len(s.c.Members)), s.far
	row, dev := chunk*g.near/n, chunk*g.near%n
	if g.offset {
		row *= g.far
	}
	at := row * s.c.Chunk
	last := (n/g.set - 1) * g.set // the last set takes what is left over, too
	for range g.near {
		d, off := dev, at
		members, offs = append(members, int(d)), append(offs, off)
		for range g.far - 1 {
			first, size := d/g.set*g.set, g.set
			if n%g.set != 0 && d >= last {
				first, size = last, g.set+n%g.set
			}
			d = first + (d-first+g.near)%size
			off += g.stride
			members, offs = append(members, int(d)), append(offs, off)
		}
		if dev++; dev == n {
			dev, at = 0, at+s.c.Chunk
		}
	}
	return members, offs
}

func (s *Set) readMirrored(p []byte, off int64) (int, error) {
	within := off % s.c.Chunk
	p = p[:min(int64(len(p)), s.c.Chunk-within)]
	members, offs := s.copies(off / s.c.Chunk)
	err := s.first(p, func(i int) (int, int64) { return members[i], offs[i] + within }, len(members))
	if err != nil {
		return 0, err
	}
	return len(p), nil
}
