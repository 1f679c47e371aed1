package ext

import (
	"bytes"
	"fmt"
	"io/fs"
	"slices"
)

// Numbers that stand for the beginnings of names.
const (
	xattrUser      = 1
	xattrACL       = 2
	xattrDefault   = 3
	xattrTrusted   = 4
	xattrSecurity  = 6
	xattrSystem    = 7 // inline data, and nothing that anybody may see
	xattrRichACL   = 8
	xattrEncrypted = 9 // the context of fscrypt
	xattrHurd      = 10
)

const (
	xattrMagic  = 0xEA020000
	xattrHeader = 32 // of a block of attributes
	xattrEntry  = 16 // and its name behind it

	// maxXattr is the longest value that we give; Linux stores 64 KiB.
	maxXattr = 1 << 20
)

// xattr is an attribute as it lies there. Name and value belong to the cache.
type xattr struct {
	index  byte
	name   []byte
	value  []byte
	inode  uint32 // holds the value instead (ea_inode)
	length uint32
}

// fullName is what listxattr(2) would call it, "" for what it would not list.
func (a *xattr) fullName() string {
	name := string(a.name)
	switch a.index {
	case xattrUser:
		return "user." + name
	case xattrACL:
		return "system.posix_acl_access"
	case xattrDefault:
		return "system.posix_acl_default"
	case xattrTrusted:
		return "trusted." + name
	case xattrSecurity:
		return "security." + name
	case xattrRichACL:
		return "system.richacl"
	case xattrHurd:
		return "gnu." + name
	}
	return ""
}

func (in *inode) xattrBlock() uint64 {
	return uint64(le.Uint32(in.raw[0x68:])) | uint64(le.Uint16(in.raw[0x76:]))<<32
}

// bodyXattrs returns the attributes that lie in the inode itself.
func (v *volume) bodyXattrs(in *inode) ([]xattr, error) {
	start := classicInodeSize + in.extra()
	if in.extra() == 0 || start+4 > len(in.raw) || le.Uint32(in.raw[start:]) != xattrMagic {
		return nil, nil
	}
	region := in.raw[start+4:]
	return parseXattrs(in.number, region, region)
}

// blockXattrs returns those that lie in a block of their own, which several
// inodes may share.
func (v *volume) blockXattrs(in *inode) ([]xattr, error) {
	n := in.xattrBlock()
	if n == 0 {
		return nil, nil
	}
	b, mark, err := v.block(n)
	if err != nil {
		return nil, fmt.Errorf("attributes of inode %d: %w", in.number, err)
	}
	verified := v.markOf(verdict{kind: markXattrs, low: n})
	if mark.Load() != verified {
		if le.Uint32(b) != xattrMagic {
			return nil, v.damagedAt(n, "the attributes of an inode", "no magic number")
		}
		if v.sb.hasCsum() && xattrSum(v.sb.csumSeed, n, b) != le.Uint32(b[0x10:]) {
			return nil, v.damagedAt(n, "the attributes of an inode", "they have another checksum")
		}
		mark.Store(verified)
	}
	return parseXattrs(in.number, b[xattrHeader:], b)
}

func xattrSum(seed uint32, n uint64, b []byte) uint32 {
	var number [8]byte
	le.PutUint64(number[:], n)
	crc := crc32c(seed, number[:])
	crc = crc32c(crc, b[:0x10])
	crc = crc32c(crc, zeros)
	return crc32c(crc, b[0x14:])
}

// parseXattrs reads entries up to the zero word behind the last. Their values lie
// at offsets from the beginning of values.
func parseXattrs(ino uint32, entries, values []byte) ([]xattr, error) {
	var list []xattr
	for len(entries) >= 4 && le.Uint32(entries) != 0 {
		if len(entries) < xattrEntry || len(entries) < xattrEntry+int(entries[0]) {
			return nil, damagedInode(ino, "an attribute's name reaches past its place")
		}
		a := xattr{index: entries[1], name: entries[xattrEntry : xattrEntry+int(entries[0])],
			inode: le.Uint32(entries[4:]), length: le.Uint32(entries[8:])}
		at := uint32(le.Uint16(entries[2:]))
		switch {
		case a.length > maxXattr || bytes.IndexByte(a.name, 0) >= 0:
			return nil, damagedInode(ino, "the attribute %q has %d bytes", a.name, a.length)
		case a.inode != 0 || a.length == 0:
		case uint64(at)+uint64(a.length) > uint64(len(values)):
			return nil, damagedInode(ino, "the attribute %q lies at %d+%d of %d bytes", a.name, at, a.length, len(values))
		default:
			a.value = values[at : at+a.length]
		}
		list = append(list, a)
		entries = entries[min(len(entries), (xattrEntry+len(a.name)+3)&^3):]
	}
	return list, nil
}

// xattrs lists those of the inode first: the kernel looks there first, too. What
// can be read is returned with the damage of the rest.
func (v *volume) xattrs(ino uint64) ([]xattr, error) {
	in, err := v.inode(ino)
	if err != nil {
		return nil, err
	}
	list, err := v.bodyXattrs(&in)
	more, blockErr := v.blockXattrs(&in)
	if err == nil {
		err = blockErr
	}
	return append(list, more...), err
}

// Xattrs returns the names of the attributes, sorted.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	list, err := v.xattrs(ino)
	var names []string
	for i := range list {
		if name := list[i].fullName(); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Xattr returns the value of one attribute.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	list, err := v.xattrs(ino)
	for i := range list {
		if a := &list[i]; a.fullName() == name && name != "" {
			return v.xattrValue(uint32(ino), a)
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, fs.ErrNotExist
}

func (v *volume) xattrValue(ino uint32, a *xattr) ([]byte, error) {
	value := bytes.Clone(a.value)
	if a.inode != 0 {
		var err error
		if value, err = v.farValue(ino, a); err != nil {
			return nil, fmt.Errorf("attribute %s of inode %d: %w", a.fullName(), ino, err)
		}
	}
	if a.index == xattrACL || a.index == xattrDefault {
		return convertACL(ino, value)
	}
	if value == nil {
		value = []byte{}
	}
	return value, nil
}

// farValue reads a value that is the content of an inode, which keeps the value's
// checksum where others have their time of access.
func (v *volume) farValue(ino uint32, a *xattr) ([]byte, error) {
	owner, err := v.anyInode(ino)
	if err != nil {
		return nil, err
	}
	in, err := v.anyInode(a.inode)
	if err != nil {
		return nil, err
	}
	size, err := v.sizeOf(&in)
	if err != nil {
		return nil, err
	}
	if !in.has(flagEAInode) || in.kind() != modeFile || size != int64(a.length) {
		return nil, damagedInode(a.inode, "it does not hold a value of %d bytes", a.length)
	}
	f, err := v.content(&in)
	if err != nil {
		return nil, err
	}
	value := make([]byte, size)
	if n, err := f.ReadAt(value, 0); n < len(value) {
		return nil, err
	}
	// Lustre wrote the inode's number and generation there instead.
	lustre := le.Uint32(in.raw[0x10:]) == owner.number && le.Uint32(in.raw[0x64:]) == le.Uint32(owner.raw[0x64:])
	if sum := le.Uint32(in.raw[8:]); !lustre && sum != crc32c(v.sb.csumSeed, value) {
		return nil, damagedInode(a.inode, "the value that it holds has another checksum")
	}
	return value, nil
}
