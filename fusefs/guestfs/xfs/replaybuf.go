package xfs

import (
	"bytes"
	"fmt"
)

// Flags of a buffer in the log.
const (
	bufferInodes = 0x01 // inodes, of which it holds no more than lists of the unlinked
	bufferCancel = 0x02 // it was freed: nothing earlier of it is to be replayed
	bufferQuota  = 0x1c

	bufferChunk    = 128 // bytes that one bit of its map stands for
	bufferHeader   = 20
	maxBuffer      = 1 << 20
	longestLSNHead = 344 // of an AGI, up to which any kind of block tells its LSN and id
)

// bufferFormat is the first region of a buffer's item (xfs_buf_log_format).
type bufferFormat struct {
	flags uint16
	key   bufferKey
	words int
	bits  []byte // which chunks of the buffer follow
}

// buffer decodes an item, false if it is of another kind or makes no sense.
func (p *replayer) buffer(i *item) (bufferFormat, bool) {
	b := i.regions[0]
	if i.kind() != itemBuffer || len(b) < bufferHeader {
		return bufferFormat{}, false
	}
	f := bufferFormat{flags: le.Uint16(b[4:]), key: bufferKey{int64(le.Uint64(b[8:])), int(le.Uint16(b[6:]))}}
	if f.words = int(le.Uint32(b[16:])); f.words < 0 || f.words > (len(b)-bufferHeader)/4 {
		f.words = (len(b) - bufferHeader) / 4
	}
	f.bits = b[bufferHeader:]
	return f, true
}

func (f bufferFormat) has(chunk int) bool {
	return chunk < f.words*32 && le.Uint32(f.bits[chunk/32*4:])>>(chunk%32)&1 != 0
}

func (p *replayer) applyBuffer(i *item, lsn uint64) error {
	f, ok := p.buffer(i)
	if !ok {
		return errShape
	}
	if n := p.canceled[f.key]; n > 0 { // freed further on, or here
		if f.flags&bufferCancel != 0 {
			if p.canceled[f.key]--; n == 1 {
				p.freed[f.key.sector]--
			}
		}
		return nil
	}
	if f.flags&(bufferCancel|bufferInodes|bufferQuota) != 0 {
		return nil
	}
	at, size := f.key.sector*sectorSize, f.key.n*sectorSize
	if f.key.sector < 0 || f.key.sector > p.over.end/sectorSize || size > maxBuffer || at+int64(size) > p.over.end {
		return errShape
	}
	if newer, err := p.newer(at, size, lsn); newer || err != nil {
		return err
	}
	for chunk, region := 0, 1; chunk < f.words*32; {
		if !f.has(chunk) {
			chunk++
			continue
		}
		n := 1
		for f.has(chunk + n) {
			n++
		}
		if region >= len(i.regions) {
			return errShape
		}
		b := i.regions[region]
		b = b[:min(len(b)/bufferChunk, n)*bufferChunk]
		if chunk*bufferChunk+len(b) > size {
			return errShape
		}
		if err := p.over.write(at+int64(chunk*bufferChunk), b); err != nil {
			return err
		}
		p.work += int64(len(b))
		chunk, region = chunk+n, region+1
	}
	return nil
}

// newer reports whether the block in the volume holds this change already: on
// version 5 metadata tells the LSN of its last change. What the log itself wrote is
// never newer, since it is replayed in order and those numbers are left as they are.
func (p *replayer) newer(at int64, size int, lsn uint64) (bool, error) {
	if !p.v.v5 || size < sectorSize {
		return false, nil
	}
	var b [sectorSize]byte
	if n, err := p.over.ReadAt(b[:], at); n < len(b) {
		return false, fmt.Errorf("read a block at %d: %w", at, err)
	}
	p.work += sectorSize
	has, id := lsnOf(b[:longestLSNHead])
	if id == nil || !bytes.Equal(id, p.v.metaUUID[:]) {
		return false, nil
	}
	return has != 0 && has != ^uint64(0) && has >= lsn, nil
}

// lsnOf returns the LSN that a block of metadata tells, and the id of its file
// system; no id where it is of no kind that has them.
func lsnOf(b []byte) (lsn uint64, id []byte) {
	at := func(lsn, id int) (uint64, []byte) { return be.Uint64(b[lsn:]), b[id : id+16] }
	switch string(b[:4]) {
	case "AB3B", "AB3C", "RMB3", "R3FC", "FIB3", "IAB3": // trees of a group
		return at(24, 32)
	case "BMA3":
		return at(32, 40)
	case "XAGF":
		return at(208, 64)
	case "XAFL":
		return at(24, 8)
	case "XAGI":
		return at(320, 296)
	case "XSLM":
		return at(48, 16)
	case "XDB3", "XDD3", "XDF3":
		return at(16, 24)
	case "XFSB":
		if be.Uint32(b[216:])&incompatMetaUUID != 0 {
			return at(240, 248)
		}
		return at(240, 32)
	}
	switch be.Uint16(b[8:]) {
	case magicLeaf1V5, magicLeafNV5, magicHashNodeV5, magicAttrLeafV5:
		return at(24, 32)
	}
	return 0, nil
}

// applyCreate makes inodes that are not in use yet (xfs_icreate_log): group, block,
// count, size of an inode, blocks, generation.
func (p *replayer) applyCreate(b []byte) error {
	if len(b) < 28 || !p.v.v5 {
		return errShape
	}
	group, block := uint64(be.Uint32(b[4:])), uint64(be.Uint32(b[8:]))
	count, blocks := uint64(be.Uint32(b[12:])), uint64(be.Uint32(b[20:]))
	first := group<<p.v.agBlockLog | block
	at, ok := p.v.address(first, blocks)
	if !ok || block >= 1<<p.v.agBlockLog || count != blocks<<p.v.inoBlockLog || count > 4096 || int(be.Uint32(b[16:])) != p.v.super.inode {
		return errShape
	}
	for n := range int64(blocks) {
		if p.freed[(at+n*int64(p.v.block))/sectorSize] > 0 { // the whole lot went away again
			return nil
		}
	}
	for n := range count {
		i := make([]byte, p.v.super.inode)
		be.PutUint16(i, magicInode)
		i[4] = 3
		copy(i[92:96], b[24:28])
		be.PutUint32(i[96:], ^uint32(0))
		be.PutUint64(i[152:], first<<p.v.inoBlockLog+n)
		copy(i[160:], p.v.metaUUID[:])
		le.PutUint32(i[100:], crcWithout(i, 100))
		if err := p.over.write(at+int64(n)*int64(len(i)), i); err != nil {
			return err
		}
	}
	p.work += int64(blocks) * int64(p.v.block)
	return nil
}
