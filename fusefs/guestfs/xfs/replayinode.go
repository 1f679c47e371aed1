package xfs

import "fmt"

// Which parts of an inode an item of the log holds.
const (
	partData      = 0x002 // the data fork: content, extents, root of its tree
	partExtents   = 0x004
	partRoot      = 0x008
	partDevice    = 0x010
	partAttrData  = 0x040
	partAttrExts  = 0x080
	partAttrRoot  = 0x100
	partDataFork  = partData | partExtents | partRoot
	partAttrFork  = partAttrData | partAttrExts | partAttrRoot
	inodeFormat   = 56
	inodeFormat32 = 52 // as 32-bit machines wrote it, without padding
	coreLogged    = 96 // bytes of the core of inodes of versions 1 and 2
)

// inodeItem is the first region of an inode's item (xfs_inode_log_format).
type inodeItem struct {
	parts  uint32
	device uint32
	key    bufferKey // the buffer it lies in
	offset int64     // and where in it
}

func parseInodeItem(b []byte) (inodeItem, error) {
	pad := 0
	switch len(b) {
	case inodeFormat:
		pad = 4
	case inodeFormat32:
	default:
		return inodeItem{}, errShape
	}
	return inodeItem{
		parts: le.Uint32(b[4:]), device: le.Uint32(b[20+pad:]),
		key:    bufferKey{int64(le.Uint64(b[36+pad:])), int(int32(le.Uint32(b[44+pad:])))},
		offset: int64(int32(le.Uint32(b[48+pad:]))),
	}, nil
}

// applyInode replays an inode: its core, and the forks that were changed.
func (p *replayer) applyInode(i *item, lsn uint64) error {
	f, err := parseInodeItem(i.regions[0])
	if err != nil {
		return err
	}
	if p.canceled[f.key] > 0 {
		return nil
	}
	at, size := f.key.sector*sectorSize+f.offset, p.v.super.inode
	if f.key.sector < 0 || f.key.sector > p.over.end/sectorSize || f.offset < 0 || at%int64(size) != 0 || at+int64(size) > p.over.end || len(i.regions) < 2 {
		return errShape
	}
	b := make([]byte, size)
	if n, err := p.over.ReadAt(b, at); n < size {
		return fmt.Errorf("read an inode at %d: %w", at, err)
	}
	logged := i.regions[1]
	if be.Uint16(b) != magicInode || len(logged) < coreLogged || le.Uint16(logged) != magicInode ||
		p.v.v5 != (logged[4] == 3) || p.v.v5 && len(logged) < coreV3 {
		return errShape
	}
	if p.v.v5 {
		if has := be.Uint64(b[112:]); has != 0 && has != ^uint64(0) && has > lsn {
			return nil
		}
	} else if flushedLater(be.Uint16(b[30:]), le.Uint16(logged[30:])) {
		return nil
	}
	coreFromLog(b, logged)
	if err := p.forksFromLog(b, f, i.regions[2:]); err != nil {
		return err
	}
	if p.v.v5 {
		le.PutUint32(b[100:], crcWithout(b, 100))
	}
	p.work += int64(size)
	return p.over.write(at, b)
}

// flushedLater compares how often an inode of version 1 or 2 was written to its
// place, which begins anew after 65535.
func flushedLater(disk, logged uint16) bool {
	return logged < disk && !(disk == 0xffff && logged < 0x7fff)
}

// coreFields are the integers of an inode's core: offset and width. The log has
// them as the machine's memory did, the disk has them big endian.
var coreFields = [...]struct{ at, width, version int }{
	{0, 2, 1}, {2, 2, 1}, {4, 1, 1}, {5, 1, 1}, {6, 2, 1}, {8, 4, 1}, {12, 4, 1}, {16, 4, 1}, {20, 2, 1}, {22, 2, 1},
	{56, 8, 1}, {64, 8, 1}, {72, 4, 1}, {76, 4, 1}, {80, 2, 1}, {82, 1, 1}, {83, 1, 1}, {84, 4, 1}, {88, 2, 1}, {90, 2, 1}, {92, 4, 1},
	{104, 8, 3}, {120, 8, 3}, {128, 4, 3}, {152, 8, 3},
}

// coreFromLog overwrites the core of an inode with that of the log.
func coreFromLog(b, logged []byte) {
	version := int(logged[4])
	flags2 := uint64(0)
	if version == 3 {
		flags2 = le.Uint64(logged[120:])
		copy(b[132:144], logged[132:144])
		copy(b[160:176], logged[160:176])
	}
	for _, f := range coreFields {
		if f.version <= max(version, 1) && (f.version < 3 || version == 3) {
			swap(b[f.at:], logged[f.at:], f.width)
		}
	}
	clear(b[24:32]) // the count of writes begins anew
	if flags2&flag2Large != 0 {
		swap(b[24:], logged[24:], 8)
	}
	for _, at := range []int{32, 40, 48, 144} {
		switch {
		case at == 144 && version < 3:
		case flags2&flag2Bigtime != 0:
			swap(b[at:], logged[at:], 8)
		default:
			swap(b[at:], logged[at:], 4)
			swap(b[at+4:], logged[at+4:], 4)
		}
	}
}

// swap copies a little-endian integer to a big-endian one.
func swap(to, from []byte, width int) {
	for i := range width {
		to[i] = from[width-1-i]
	}
}

// forksFromLog overwrites those forks of an inode that the log holds.
func (p *replayer) forksFromLog(b []byte, f inodeItem, regions [][]byte) error {
	core := coreV2
	if p.v.v5 {
		core = coreV3
	}
	area := b[core:]
	data, attrs := area, []byte(nil)
	if fork := int(b[82]) * 8; fork > len(area) {
		return errShape
	} else if fork > 0 {
		data, attrs = area[:fork], area[fork:]
	}
	next := func() []byte {
		if len(regions) == 0 {
			return nil
		}
		r := regions[0]
		regions = regions[1:]
		return r
	}
	if f.parts&partDevice != 0 {
		be.PutUint32(data, f.device)
	}
	if f.parts&partDataFork != 0 {
		if err := p.forkFromLog(data, next(), f.parts&partRoot != 0); err != nil {
			return err
		}
	}
	if f.parts&partAttrFork != 0 {
		return p.forkFromLog(attrs, next(), f.parts&partAttrRoot != 0)
	}
	return nil
}

// forkFromLog overwrites a fork. The root of a tree lies in the log as a whole
// block of it would, and in the inode with a short header.
func (p *replayer) forkFromLog(fork, logged []byte, root bool) error {
	if !root {
		if len(logged) > len(fork)+3 { // the log rounds up to words
			return errShape
		}
		copy(fork, logged)
		return nil
	}
	header := mapHeaderV4
	if p.v.v5 {
		header = mapHeaderV5
	}
	if len(logged) < header || len(fork) < 4 {
		return errShape
	}
	n, had, room := int(be.Uint16(logged[6:])), (len(logged)-header)/16, (len(fork)-4)/16
	if n > had || n > room {
		return errShape
	}
	copy(fork, logged[4:8])
	copy(fork[4:], logged[header:][:n*8])
	copy(fork[4+room*8:], logged[header+had*8:][:n*8])
	return nil
}
