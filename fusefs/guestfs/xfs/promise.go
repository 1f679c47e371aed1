package xfs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// What the log promises to do later is done by the next mount: here, in memory,
// where it changes what a file holds. Promises about free space, reference counts
// and reverse maps change nothing that a reader sees.

const (
	mapPromiseLength  = 48
	swapPromiseLength = 88
	attrPromiseLength = 40

	doMap       = 1 // kinds of a change of a map (me_flags)
	doUnmap     = 2
	mapKind     = 0xff
	mapAttrs    = 1 << 31
	mapUnwrit   = 1 << 30
	mapRealtime = 1 << 29

	swapAttrs    = 1 << 0 // xmi_flags
	swapSizes    = 1 << 1
	swapWritten  = 1 << 2 // only where the first file has content
	attrOwn      = 4      // from here on, kinds of attribute changes are about the file system's own
	attrKind     = 0xff
	maxExtents   = 1 << 18 // of a file whose map is to be changed in memory
	extentMemory = 40
)

// promised is what a file's data fork is once promises are kept.
type promised struct {
	list []extent // in place of its map
	size int64    // in place of its size, -1: as it is
}

// promises are those that no later item says were kept, by their kind and the id
// that the writer gave them.
type promises map[promiseKey]promise

type promiseKey struct {
	kind uint16
	id   uint64
}

type promise struct {
	turn int // in the order of the log
	b    []byte
}

// add takes in a promise. Another under the same id takes its place, as ids are
// used again once a promise was kept.
func (p promises) add(i *item, turn int, room *budget) error {
	b, least := i.regions[0], map[uint16]int{itemMap: mapPromiseLength, itemSwap: swapPromiseLength, itemAttr: attrPromiseLength}[i.kind()]
	if len(b) < least || i.kind() == itemMap && le.Uint32(b[4:]) != 1 {
		return errShape
	}
	k := promiseKey{i.kind(), le.Uint64(b[8:])}
	if _, known := p[k]; !known {
		if err := room.take(int64(least) + pageOverhead); err != nil {
			return err
		}
	}
	p[k] = promise{turn, slices.Clone(b[:least])}
	return nil
}

// done takes back a promise: the item after each kind of them says that it was kept.
func (p promises) done(i *item) {
	if b := i.regions[0]; len(b) >= 16 {
		delete(p, promiseKey{i.kind() - 1, le.Uint64(b[8:])})
	}
}

// keepPromises does what is left, in the order of the log.
func (p *replayer) keepPromises() {
	attrs, failed := 0, 0
	p.v.promise = map[uint64]*promised{}
	left := slices.SortedFunc(maps.Keys(p.promises), func(a, b promiseKey) int { return p.promises[a].turn - p.promises[b].turn })
	for _, k := range left {
		b := p.promises[k].b
		var err error
		switch k.kind {
		case itemMap:
			err = p.keepMap(b)
		case itemSwap:
			err = p.keepSwap(b)
		case itemAttr:
			if le.Uint32(b[24:])&attrKind < attrOwn {
				attrs++
			}
		}
		if err != nil {
			failed++
		}
	}
	if attrs > 0 {
		p.v.note(fmt.Sprintf("%d extended attributes were being changed when the disk was frozen and may be as they were before, or missing", attrs))
	}
	if failed > 0 {
		p.v.note(fmt.Sprintf("%d changes of files that were under way when the disk was frozen could not be finished", failed))
	}
}

// own returns the map of a file's data fork as a list that may be changed.
func (p *replayer) own(ino uint64) (*promised, error) {
	if p.work > maxWork {
		return nil, errors.New("it is more work than any log asks for")
	}
	if have := p.v.promise[ino]; have != nil {
		return have, nil
	}
	i, err := p.v.inode(ino)
	if err != nil {
		return nil, err
	}
	f, err := p.v.data(i)
	if err != nil {
		return nil, err
	}
	if f.local != nil {
		return nil, errShape
	}
	own := &promised{list: []extent{}, size: -1}
	for block := uint64(0); ; {
		e, ok, err := f.find(block)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		if len(own.list) == maxExtents {
			return nil, errors.New("it has too many extents")
		}
		if err := p.room.take(extentMemory); err != nil {
			return nil, err
		}
		own.list, block = append(own.list, e), e.end()
	}
	p.v.promise[ino] = own
	return own, nil
}

// keepMap puts an extent into a file's map, or takes one out (xfs_bui_log_format):
// owner, first block, offset, length, kind and flags.
func (p *replayer) keepMap(b []byte) error {
	flags := le.Uint32(b[44:])
	if flags&mapAttrs != 0 {
		return errors.New("it is a change of an attribute fork")
	}
	e := extent{start: le.Uint64(b[24:]), off: le.Uint64(b[32:]), n: uint64(le.Uint32(b[40:])), unwritten: flags&mapUnwrit != 0}
	if _, ok := p.v.address(e.start, e.n); e.n == 0 || e.off >= 1<<54 || !ok && flags&mapRealtime == 0 {
		return errShape
	}
	own, err := p.own(le.Uint64(b[16:]))
	if err != nil {
		return err
	}
	switch flags & mapKind {
	case doMap:
		own.list = append(p.cut(own.list, e.off, e.n), e)
		ascend(own.list)
	case doUnmap:
		own.list = p.cut(own.list, e.off, e.n)
	default:
		return errShape
	}
	return nil
}

// cut takes a range of blocks out of a list of extents.
func (p *replayer) cut(list []extent, off, n uint64) []extent {
	p.work += int64(len(list)) * extentMemory
	out := make([]extent, 0, len(list)+1)
	for _, e := range list {
		if left := before(e, off); left.n > 0 {
			out = append(out, left)
		}
		if right := from(e, off+n); right.n > 0 {
			out = append(out, right)
		}
	}
	return out
}

// before and from are the parts of an extent on either side of a block.
func before(e extent, block uint64) extent {
	e.n = min(e.end(), max(block, e.off)) - e.off
	return e
}

func from(e extent, block uint64) extent {
	skip := min(max(block, e.off), e.end()) - e.off
	e.off, e.start, e.n = e.off+skip, e.start+skip, e.n-skip
	return e
}

func ascend(list []extent) {
	slices.SortFunc(list, func(a, b extent) int { return cmp.Compare(a.off, b.off) })
}

// keepSwap exchanges ranges of two files (xfs_xmi_log_format): what is left of
// them, since each step that was done is written anew.
func (p *replayer) keepSwap(b []byte) error {
	one, two := le.Uint64(b[16:]), le.Uint64(b[24:])
	first, second, n := le.Uint64(b[40:]), le.Uint64(b[48:]), le.Uint64(b[56:])
	flags := le.Uint64(b[64:])
	if flags&swapAttrs != 0 || one == two || max(first, second, n) >= 1<<54 {
		return errors.New("it is an exchange of attributes, or within one file")
	}
	a, err := p.own(one)
	if err != nil {
		return err
	}
	c, err := p.own(two)
	if err != nil {
		return err
	}
	fromOne, fromTwo := part(a.list, first, n), part(c.list, second, n)
	if flags&swapWritten != 0 {
		fromOne, fromTwo = written(fromOne, fromTwo, first, second)
		for _, e := range fromOne {
			a.list = p.cut(a.list, e.off, e.n)
			c.list = p.cut(c.list, e.off-first+second, e.n)
			if p.work > maxWork {
				return errors.New("it is more work than any exchange is")
			}
		}
	} else {
		a.list, c.list = p.cut(a.list, first, n), p.cut(c.list, second, n)
	}
	for _, e := range fromTwo {
		e.off = e.off - second + first
		a.list = append(a.list, e)
	}
	for _, e := range fromOne {
		e.off = e.off - first + second
		c.list = append(c.list, e)
	}
	ascend(a.list)
	ascend(c.list)
	if flags&swapSizes != 0 {
		a.size, c.size = int64(le.Uint64(b[72:])), int64(le.Uint64(b[80:]))
	}
	return nil
}

// part is what a list has in a range of blocks.
func part(list []extent, off, n uint64) []extent {
	var out []extent
	for _, e := range list {
		if e = before(from(e, off), off+n); e.n > 0 {
			out = append(out, e)
		}
	}
	return out
}

// written keeps those extents of the first file that have content, and of the
// second what lies opposite to them.
func written(one, two []extent, first, second uint64) (a, b []extent) {
	for _, e := range one {
		if e.unwritten {
			continue
		}
		a = append(a, e)
		b = append(b, part(two, e.off-first+second, e.n)...)
	}
	return a, b
}
