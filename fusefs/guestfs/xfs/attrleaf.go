package xfs

import (
	"fmt"
	"sort"
)

const (
	magicAttrLeafV4 = 0xfbee
	magicAttrLeafV5 = 0x3bee
	magicFarValue   = 0x5841524d // "XARM"

	// What a leaf has of its own before its entries: count, bytes used, first
	// byte used, holes, map of free space, on version 5 padding.
	attrLeafHeaderV4 = 20
	attrLeafHeaderV5 = 24
)

// leafAttributes gives the attributes of a leaf whose hashes lie between two
// (xfs_attr_leafblock). The result is false where no other leaf can have more.
func (f *fork) leafAttributes(b hashBlock, low, high uint32, take func(attribute) bool) (more bool, err error) {
	magic, header := uint16(magicAttrLeafV4), attrLeafHeaderV4
	if f.v.v5 {
		magic, header = magicAttrLeafV5, attrLeafHeaderV5
	}
	if b.magic != magic {
		return false, corrupt(f.what, b.at, "no leaf of theirs lies there")
	}
	entries, err := b.entries(header, 8)
	if err != nil {
		return false, err
	}
	hash := func(i int) uint32 { return be.Uint32(entries[i*8:]) }
	i := sort.Search(b.count, func(i int) bool { return hash(i) >= low })
	for ; i < b.count && hash(i) <= high; i++ {
		a, err := f.leafAttribute(b, int(be.Uint16(entries[i*8+4:])), entries[i*8+6])
		if err != nil {
			return false, err
		}
		if !take(a) {
			return false, nil
		}
	}
	return i == b.count, nil
}

// leafHashes are the lowest and the highest hash of a leaf, zeros where it is empty.
func (f *fork) leafHashes(b hashBlock) (first, last uint32) {
	header := attrLeafHeaderV4
	if f.v.v5 {
		header = attrLeafHeaderV5
	}
	entries, err := b.entries(header, 8)
	if err != nil || b.count == 0 {
		return 0, 0
	}
	return be.Uint32(entries), be.Uint32(entries[len(entries)-8:])
}

// leafAttribute decodes what a leaf has at an offset: length of the value, length
// of the name, name, value; or the value's place, its length, length of the name,
// name.
func (f *fork) leafAttribute(b hashBlock, at int, flags byte) (attribute, error) {
	a := attribute{flags: flags}
	var name int
	switch {
	case flags&attrLocal != 0 && at+3 <= len(b.b):
		a.size, name, at = int(be.Uint16(b.b[at:])), int(b.b[at+2]), at+3
		if at+name+a.size <= len(b.b) {
			a.name, a.value = string(b.b[at:at+name]), b.b[at+name:at+name+a.size]
			return a, nil
		}
	case flags&attrLocal == 0 && at+9 <= len(b.b):
		a.block, name = be.Uint32(b.b[at:]), int(b.b[at+8])
		a.size = int(min(be.Uint32(b.b[at+4:]), maxValue+1))
		if at += 9; at+name <= len(b.b) && (a.size <= maxValue || flags&attrIncomplete != 0) {
			a.name = string(b.b[at : at+name])
			return a, nil
		}
	}
	return a, corrupt(f.what, b.at, "one of them reaches out of its block")
}

// farValue reads a value that has blocks of its own: on version 5 each begins with
// a header (xfs_attr3_rmt_hdr).
func (f *fork) farValue(a attribute) ([]byte, error) {
	value := make([]byte, 0, a.size)
	what := fmt.Sprintf("the value of attribute %q of the %s", a.name, f.what)
	for block := uint64(a.block); len(value) < a.size; block++ {
		p, err := f.meta(block, f.v.block)
		if err != nil {
			return nil, err
		}
		part := p.b
		if f.v.v5 {
			n := int64(be.Uint32(p.b[8:]))
			if be.Uint32(p.b) != magicFarValue || n == 0 || n > int64(len(p.b)-remoteHeader) || int64(be.Uint32(p.b[4:])) != int64(len(value)) {
				return nil, corrupt(what, p.at, "no part of it lies there")
			}
			if err := f.v.check(p, stampRemote, what); err != nil {
				return nil, err
			}
			part = p.b[remoteHeader:][:n]
		}
		value = append(value, part[:min(len(part), a.size-len(value))]...)
	}
	return value, nil
}
