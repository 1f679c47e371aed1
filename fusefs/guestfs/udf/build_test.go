package udf

import (
	"bytes"
	"testing"
)

// recipe is what a builder makes: the kinds of partitions that mkudffs and Linux cannot
// fill, and what Linux does not write. Linux reads them as TestWhatWasBuiltIsReadAsLinuxReadsIt says.
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
