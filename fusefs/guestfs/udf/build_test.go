package udf

import (
	"bytes"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree/treetest"
)

// recipe is what a builder makes: the kinds of partitions that mkudffs and Linux cannot
// fill, and what Linux does not write. Linux reads them as TestWhatLinuxReadsIsRead says.
type recipe struct {
	block    int64
	kind     string // mapPhysical and so on
	old      bool   // the older form of the virtual table
	extended bool   // entries
}

var recipes = map[string]recipe{
	"built-physical-512": {512, mapPhysical, false, true},
	"built-sparable":     {2048, mapSparable, false, false},
	"built-virtual-old":  {2048, mapVirtual, true, false},
	"built-virtual":      {2048, mapVirtual, false, true},
	"built-metadata":     {2048, mapMetadata, false, true},
	"built-meta-4096":    {4096, mapMetadata, false, true},
}

// Where a builder puts things, in blocks.
const (
	mainAt, reserveAt, integrityAt    = 128, 160, 192
	sparingAt, spareAt, partitionAt   = 264, 272, 288
	partitionBlocks                   = 400
	packet                            = 16
	metaBlocks, metaFirst, metaMirror = 60, 40, 200
)

// builder makes a small image. All that it writes as a tag is set right by end.
type builder struct {
	recipe
	img    []byte
	data   uint32 // the next free block of the partition
	meta   uint32 // the next free block of where entries are
	places []uint32
}

// build returns an image.
func build(t testing.TB, r recipe) []byte {
	t.Helper()
	b := &builder{recipe: r, img: make([]byte, (partitionAt+partitionBlocks+32)*r.block), data: 100}
	if r.kind == mapVirtual {
		b.img = b.img[:(partitionAt+partitionBlocks)*r.block]
	}
	b.volume()
	root := b.tree()
	b.fileSet(root)
	switch r.kind {
	case mapMetadata:
		b.metadataFiles()
		b.copyMetadata()
	case mapVirtual:
		b.virtualTable()
	}
	mend(b.img, b.block)
	return b.img
}

// mend sets checksums of all tags of an image right whose block says where it is, so that
// damage is believed.
func mend(img []byte, block int64) {
	for at := int64(len(img)) - block; at >= 0; at -= 4 { // what lies in another first
		if le.Uint32(img[at:]) == 0 {
			continue
		}
		kind, n := le.Uint16(img[at:]), int64(le.Uint16(img[at+10:]))
		version := le.Uint16(img[at+2:])
		if known := kind >= 1 && kind <= 9 || kind >= 256 && kind <= 266; !known && kind != 0 || version != 2 && version != 3 || img[at+5] != 0 || at+tagSize+n > int64(len(img)) || n == 0 && kind != 0 {
			continue
		}
		if kind == 0 && !bytes.HasPrefix(img[at+17:], []byte("*UDF Sparing")) {
			continue // which has no kind, but a version
		}
		le.PutUint16(img[at+8:], crc(img[at+tagSize:at+tagSize+n]))
		sum := byte(0)
		for i, c := range img[at : at+tagSize] {
			if i != 4 {
				sum += c
			}
		}
		img[at+4] = sum
	}
}

func (b *builder) at(block uint32) []byte { return b.img[int64(block)*b.block:][:b.block] }

// tag begins a descriptor of n bytes, its tag included.
func (b *builder) tag(p []byte, kind uint16, block uint32, n int) {
	le.PutUint16(p, kind)
	le.PutUint16(p[2:], 2)
	if b.extended {
		le.PutUint16(p[2:], 3)
	}
	le.PutUint16(p[10:], uint16(n-tagSize))
	le.PutUint32(p[12:], block)
}

func regid(p []byte, id string) { copy(p[1:24], id) }

func putCS0(p []byte, s string) { // a dstring
	n := copy(p[1:len(p)-1], s)
	p[0], p[len(p)-1] = 8, byte(n+1)
}

func stamp(p []byte, minute byte) {
	le.PutUint16(p, 1<<12|uint16(60)) // an hour before UTC
	le.PutUint16(p[2:], 2024)
	copy(p[4:], []byte{5, 6, 7, minute, 9, 12, 34, 56})
}

func put32(p []byte, all ...uint32) {
	for i, n := range all {
		le.PutUint32(p[4*i:], n)
	}
}

func (b *builder) volume() {
	ids := []string{"BEA01", "NSR02", "TEA01"}
	if b.extended {
		ids[1] = "NSR03"
	}
	for i, id := range ids {
		p := b.img[recognition+int64(i)*max(2048, b.block):]
		copy(p[1:], id)
		p[6] = 1
	}
	blocks := uint32(int64(len(b.img)) / b.block)
	anchors := []uint32{256}
	if b.kind != mapVirtual {
		anchors = append(anchors, blocks-1)
	}
	for _, at := range anchors {
		p := b.at(at)
		b.tag(p, tagAnchor, at, 512)
		put32(p[16:], 16*uint32(b.block), mainAt, 16*uint32(b.block), reserveAt)
	}
	for _, at := range []uint32{mainAt, reserveAt} {
		b.sequence(at)
	}
	p := b.at(integrityAt)
	b.tag(p, tagIntegrity, integrityAt, 80+16+46)
	stamp(p[16:], 1)
	parts := len(b.maps())
	put32(p[28:], 1)
	put32(p[72:], uint32(parts), 46)
	for i := range parts {
		put32(p[80+4*i:], 1<<32-1)
		put32(p[80+4*(parts+i):], partitionBlocks)
	}
	put32(p[80:], 150)
	use := p[80+8*parts:]
	regid(use, "*Holdfast")
	for i := range 3 {
		le.PutUint16(use[40+2*i:], b.revision())
	}
}

func (b *builder) sequence(at uint32) {
	p := b.at(at)
	b.tag(p, tagPrimary, at, 512)
	put32(p[16:], 1)
	putCS0(p[24:56], "Holdfast")
	putCS0(p[72:200], "0123456789abcdef Holdfast")
	p = b.at(at + 1)
	b.tag(p, tagPartition, at+1, 512)
	put32(p[16:], 2)
	le.PutUint16(p[20:], 1)
	regid(p[24:], map[bool]string{false: "+NSR02", true: "+NSR03"}[b.extended])
	put32(p[184:], 4, partitionAt, partitionBlocks)
	if b.kind == mapVirtual {
		put32(p[184:], 1)
	}
	p = b.at(at + 2)
	maps := b.maps()
	length := len(bytes.Join(maps, nil))
	b.tag(p, tagLogical, at+2, 440+length)
	put32(p[16:], 3)
	putCS0(p[84:212], "Built")
	put32(p[212:], uint32(b.block))
	b.domain(p[216:])
	put32(p[264:], uint32(length), uint32(len(maps)))
	put32(p[432:], 2*uint32(b.block), integrityAt)
	copy(p[440:], bytes.Join(maps, nil))
	b.tag(b.at(at+3), tagTerminator, at+3, 512)
}

func (b *builder) domain(p []byte) {
	regid(p, "*OSTA UDF Compliant")
	le.PutUint16(p[24:], b.revision())
}

func (b *builder) revision() uint16 {
	switch {
	case b.kind == mapMetadata:
		return 0x0250
	case b.extended:
		return 0x0201
	}
	return 0x0150
}

// maps are the partition maps.
func (b *builder) maps() [][]byte {
	plain := []byte{1, 6, 1, 0, 0, 0}
	second := make([]byte, 64)
	second[0], second[1], second[36] = 2, 64, 1
	regid(second[4:], b.kind)
	le.PutUint16(second[28:], b.revision())
	switch b.kind {
	case mapPhysical:
		return [][]byte{plain}
	case mapSparable:
		le.PutUint16(second[40:], packet)
		second[42] = 2
		put32(second[44:], uint32(b.block), sparingAt, sparingAt+1)
		b.sparing(sparingAt, 1, spareAt)
		b.sparing(sparingAt+1, 1, spareAt)
		return [][]byte{second}
	case mapMetadata:
		put32(second[40:], 0, partitionBlocks-1, 1<<32-1, 32)
		second[56], second[58] = 32, 1
	}
	return [][]byte{plain, second}
}

// movedPacket is the one that lies elsewhere in a sparable partition: what data begins in.
const movedPacket = 96

func (b *builder) sparing(at, sequence, to uint32) {
	p := b.at(at)
	regid(p[16:], "*UDF Sparing Table")
	le.PutUint16(p[48:], 2)
	put32(p[52:], sequence, movedPacket, to, 1<<32-1, to)
	b.tag(p, 0, at, 56+16)
}

// space returns a free block of the partition, and where it lies.
func (b *builder) space(n uint32) (block uint32, p []byte) {
	if b.kind == mapSparable && b.data%packet+n > packet {
		b.data = b.data/packet*packet + packet
	}
	block = b.data
	b.data += n
	at := partitionAt + block
	if b.kind == mapSparable && block/packet*packet == movedPacket {
		at = spareAt + block%packet
	}
	return block, b.img[int64(at)*b.block:][:int64(n)*b.block]
}

// entryPlace returns a free block for an entry, and where it lies.
func (b *builder) entryPlace() (block uint32, p []byte) {
	switch b.kind {
	case mapVirtual:
		b.space(1) // the block before was replaced
		at, p := b.space(1)
		b.places = append(b.places, at)
		return uint32(len(b.places) - 1), p
	case mapMetadata:
		block = b.meta
		b.meta++
		return block, b.at(partitionAt + metaPlace(block))
	}
	return b.space(1)
}

// metaPlace is where a block of metadata lies in the partition: there are two extents.
func metaPlace(block uint32) uint32 {
	if block < metaFirst {
		return 1 + block
	}
	return 50 + block - metaFirst
}

// ref is the partition in which entries are.
func (b *builder) ref() uint16 {
	if b.kind == mapVirtual || b.kind == mapMetadata {
		return 1
	}
	return 0
}

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
