package udf

import (
	"bytes"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

func (b *builder) fileSet(root uint32) {
	block, p := b.entryPlace()
	b.tag(p, tagFileSet, block, 512)
	b.domain(p[416:])
	putLong(p[400:], uint32(b.block), root, b.ref())
	for _, at := range []uint32{mainAt, reserveAt} {
		putLong(b.at(at + 2)[248:], uint32(b.block), block, b.ref())
	}
}

func putLong(p []byte, length, block uint32, ref uint16) {
	put32(p, length, block)
	le.PutUint16(p[8:], ref)
}

// describe is what an entry says.
type describe struct {
	kind       byte
	form       uint16
	size       int64
	permission uint32
	attributes []byte
	extents    []byte
	streams    uint32 // the block of the entry of its streams
	links      uint16
}

// entry writes one and returns its block.
func (b *builder) entry(d describe) uint32 {
	block, p := b.entryPlace()
	b.fill(p, block, d)
	return block
}

func (b *builder) fill(p []byte, block uint32, d describe) {
	kind, lengths := uint16(tagEntry), 168
	if b.extended {
		kind, lengths = tagExtendEntry, 208
	}
	le.PutUint16(p[20:], strategyPlain)
	le.PutUint16(p[24:], 1)
	p[27] = d.kind
	le.PutUint16(p[34:], d.form)
	put32(p[36:], 1000, 1<<32-1, d.permission)
	le.PutUint16(p[48:], max(d.links, 1))
	le.PutUint64(p[56:], uint64(d.size))
	stamps := []int{72, 84, 96}
	if b.extended {
		le.PutUint64(p[64:], uint64(d.size))
		stamps = []int{80, 92, 116, 104}
		if d.streams != 0 {
			putLong(p[152:], uint32(b.block), d.streams, b.ref())
		}
	}
	for i, at := range stamps {
		stamp(p[at:], byte(i))
	}
	put32(p[lengths:], uint32(len(d.attributes)), uint32(len(d.extents)))
	if len(d.attributes) > 0 {
		b.tag(d.attributes, tagAttributes, block, attributesHead)
	}
	copy(p[lengths+8:], d.attributes)
	copy(p[lengths+8+len(d.attributes):], d.extents)
	b.tag(p, kind, block, lengths+8+len(d.attributes)+len(d.extents))
}

// name makes an identifier.
func (b *builder) name(s string, flag byte, block uint32) []byte {
	id := []byte{}
	if s != "" {
		id = append([]byte{8}, s...)
		if strings.ContainsFunc(s, func(r rune) bool { return r > 255 }) {
			id = []byte{16}
			for _, r := range s {
				id = append(id, byte(r>>8), byte(r))
			}
		}
	}
	p := make([]byte, (identifierHead+len(id)+3)&^3)
	le.PutUint16(p[16:], 1)
	p[18], p[19] = flag, byte(len(id))
	putLong(p[20:], uint32(b.block), block, b.ref())
	copy(p[identifierHead:], id)
	b.tag(p, tagIdentifier, 0, len(p))
	mend(append(p, make([]byte, 512)...), 512)
	return p
}

// folder writes one with the names given; it lies in its entry.
func (b *builder) folder(kind byte, names ...[]byte) uint32 {
	all := bytes.Join(append([][]byte{b.name("", isAbove|isFolder, 0)}, names...), nil)
	d := describe{kind: kind, form: formInline, size: int64(len(all)), permission: 0o7 | 0o5<<5 | 0o7<<10, extents: all}
	if int64(len(all)) > b.block-220 {
		at, p := b.space(uint32((int64(len(all)) + b.block - 1) / b.block))
		copy(p, all)
		d.form, d.extents = formShort, le.AppendUint32(le.AppendUint32(nil, uint32(len(all))), at)
	}
	return b.entry(d)
}

func (b *builder) inline(content string) uint32 {
	return b.entry(describe{kind: typeRegular, form: formInline, size: int64(len(content)), permission: 4 | 4<<5 | 6<<10, extents: []byte(content)})
}

// tree writes files of all kinds and returns the root's block.
func (b *builder) tree() uint32 {
	device := make([]byte, 24+24)
	put32(device[16:], 48, 48)
	put32(device[24:], attributeDevice)
	device[28] = 1
	put32(device[32:], 24, 0, 259, 70_000)
	target := []byte{componentRoot, 0, 0, 0, componentName, 4, 0, 0, 8, 'e', 't', 'c', componentAbove, 0, 0, 0, componentHere, 0, 0, 0, componentName, 5, 0, 0, 16, 0x65, 0xe5, 0x67, 0x2c}
	streams := uint32(0)
	if b.extended {
		streams = b.folder(typeStreams, b.name("note", 0, b.inline("of the user")), b.name("*UDF Backup", 0, b.inline("of UDF")))
	}
	with := describe{kind: typeRegular, form: formInline, size: 4, permission: 4 << 10, extents: []byte("main"), streams: streams}
	sub := b.folder(typeFolder, b.name("deep", isFolder, b.folder(typeFolder, b.name("file", 0, b.inline("far down")))))
	return b.folder(typeFolder,
		b.name("short.txt", 0, b.inline("hello")), b.name("deleted", isDeleted, b.inline("gone")), b.name("hidden", 1, b.inline("there")),
		b.name("empty", 0, b.inline("")), b.name("large", 0, b.large()), b.name("sub", isFolder, sub),
		b.name("link", 0, b.entry(describe{kind: typeLink, form: formInline, size: int64(len(target)), permission: 0x7fff, extents: target})),
		b.name("device", 0, b.entry(describe{kind: typeBlock, form: formInline, permission: 6 << 10, attributes: device})),
		b.name("日本 ü", 0, b.entry(describe{kind: typePipe, form: formInline | flagSticky | flagSetuid, permission: 6 << 10})),
		b.name("streams", 0, b.entry(with)))
}

// large is a file of extents in two places, with a hole, whose list goes on elsewhere.
func (b *builder) large() uint32 {
	bs := uint32(b.block)
	extents := make([]byte, 3*16)
	size, n := int64(0), 0
	add := func(p []byte, blocks, length uint32) {
		at, content := b.space(blocks)
		copy(content, treetest.Random(int(length), byte(blocks)))
		putLong(p, length, at, 0)
		size += int64(length)
		n++
	}
	add(extents, 3, 3*bs)
	putLong(extents[16:], 2<<30|5*bs, 0, 0)
	size += int64(5 * bs)
	block, p := b.space(1)
	putLong(extents[32:], extentMore<<30|bs, block, 0)
	put32(p[20:], 3*16)
	add(p[extentsHead:], 6, 6*bs)
	putLong(p[extentsHead+16:], 1<<30|bs, 390, 0) // reserved, and not written
	size += int64(bs)
	add(p[extentsHead+32:], 2, bs+77)
	b.tag(p, tagExtents, block, extentsHead+3*16)
	return b.entry(describe{kind: typeRegular, form: formLong, size: size, permission: 6 << 10, extents: extents})
}

func (b *builder) metadataFiles() {
	bs := uint32(b.block)
	for i, kind := range []byte{typeMetadata, typeMirror} {
		extents := make([]byte, 16)
		put32(extents, metaFirst*bs, 1, (metaBlocks-metaFirst)*bs, 50)
		if kind == typeMirror {
			put32(extents, metaFirst*bs, metaMirror, (metaBlocks-metaFirst)*bs, metaMirror+50)
		}
		block := uint32(i) * (partitionBlocks - 1)
		b.fill(b.at(partitionAt+block), block, describe{kind: kind, size: metaBlocks * b.block, extents: extents})
	}
}

func (b *builder) copyMetadata() {
	for i := range uint32(metaBlocks) {
		to := metaMirror + i
		if i >= metaFirst {
			to = metaMirror + 50 + i - metaFirst
		}
		copy(b.at(partitionAt+to), b.at(partitionAt+metaPlace(i)))
	}
}

// virtualTable writes the table, in its entry, into the last block.
func (b *builder) virtualTable() {
	var table []byte
	for _, at := range b.places {
		table = le.AppendUint32(table, at)
	}
	table = le.AppendUint32(table, noBlock)
	kind := byte(typeVirtual)
	if b.old {
		end := make([]byte, oldTableEnd)
		regid(end, "*UDF Virtual Alloc Tbl")
		put32(end[32:], 1<<32-1)
		table, kind = append(table, end...), typeNone
	} else {
		head := make([]byte, newTableHead)
		le.PutUint16(head, newTableHead)
		put32(head[132:], 1<<32-1)
		table = append(head, table...)
	}
	last := uint32(partitionBlocks - 1)
	b.fill(b.at(partitionAt+last), last, describe{kind: kind, form: formInline, size: int64(len(table)), extents: table})
}
