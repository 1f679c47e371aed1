package ext

// Flags of a group descriptor.
const groupInodesUnset = 1 // its inode table was never written

// maxCounted is how many groups are asked for their free blocks when a volume is
// opened (512 GiB of blocks of 4 KiB); with more the superblock is believed.
const maxCounted = 4096

type group struct {
	table uint64 // first block of its inodes
	free  uint64 // clusters
	flags uint16
}

func isPower(n, of uint32) bool {
	p := uint64(of)
	for p < uint64(n) {
		p *= uint64(of)
	}
	return p == uint64(n)
}

// hasSuper tells whether a group begins with a copy of the superblock.
func (s *super) hasSuper(g uint32) bool {
	switch {
	case g == 0:
		return true
	case s.compat&compatSparseSuper2 != 0:
		return g == s.backups[0] || g == s.backups[1]
	case s.ro&roSparseSuper == 0 || g == 1:
		return true
	}
	return g&1 == 1 && (isPower(g, 3) || isPower(g, 5) || isPower(g, 7))
}

func (s *super) firstBlock(g uint32) uint64 {
	return uint64(s.firstData) + uint64(g)*uint64(s.blocksPerGroup)
}

// afterSuper is the block behind the first superblock.
func (s *super) afterSuper() uint64 { return superOffset/uint64(s.blockSize) + 1 }

// descBlocks says where a block of the descriptor table lies, and where a copy of
// it does (0: nowhere). meta_bg spreads the table over the groups that it describes.
func (s *super) descBlocks(n uint32) (at, backup uint64) {
	per := uint32(s.blockSize) / s.descSize
	behind := func(g uint32) uint64 {
		if g >= s.groups {
			return 0
		}
		if s.hasSuper(g) {
			return s.firstBlock(g) + 1
		}
		return s.firstBlock(g)
	}
	if s.incompat&incompatMetaBG != 0 && n >= s.firstMetaBG {
		first := n * per
		at = behind(first)
		if first == 0 {
			at = s.afterSuper()
		}
		if per > 1 {
			backup = behind(first + 1)
		}
		return at, backup
	}
	for g := uint32(1); g < min(s.groups, 50); g++ {
		if s.hasSuper(g) {
			backup = s.firstBlock(g) + 1 + uint64(n)
			break
		}
	}
	return s.afterSuper() + uint64(n), backup
}

// group reads a group's descriptor, from a backup when the first copy is damaged.
// Of a backup only the place of the table is believed: the rest of it is old.
func (v *volume) group(g uint32) (group, error) {
	per := uint32(v.sb.blockSize) / v.sb.descSize
	at, backup := v.sb.descBlocks(g / per)
	d, err := v.groupAt(at, g)
	if err != nil && backup != 0 {
		if copied, again := v.groupAt(backup, g); again == nil {
			return group{table: copied.table}, nil
		}
	}
	return d, err
}

func (v *volume) groupAt(block uint64, g uint32) (group, error) {
	b, _, err := v.block(block)
	if err != nil {
		return group{}, err
	}
	size := v.sb.descSize
	b = b[g%(uint32(v.sb.blockSize)/size)*size:][:size]
	if !v.sb.descChecks(b, g) {
		return group{}, v.damagedAt(block, "a group descriptor", "that of group %d has another checksum", g)
	}
	d := group{table: uint64(le.Uint32(b[8:])), free: uint64(le.Uint16(b[0xC:])), flags: le.Uint16(b[0x12:])}
	if size >= 64 {
		d.table |= uint64(le.Uint32(b[0x28:])) << 32
		d.free |= uint64(le.Uint16(b[0x2C:])) << 16
	}
	if !v.sb.hasCsum() && v.sb.ro&roGdtCsum == 0 {
		d.flags = 0
	}
	length := (uint64(v.sb.inodesPerGroup)*uint64(v.sb.inodeSize) + uint64(v.sb.blockSize) - 1) / uint64(v.sb.blockSize)
	if d.table < uint64(v.sb.firstData) || d.table > v.sb.blocks || length > v.sb.blocks-d.table {
		return group{}, v.damagedAt(block, "a group descriptor", "the inodes of group %d would lie at block %d", g, d.table)
	}
	return d, nil
}

func (s *super) descSum(b []byte, g uint32) uint16 {
	if s.hasCsum() {
		crc := crc32cWord(s.csumSeed, g)
		crc = crc32c(crc, b[:0x1E])
		crc = crc32c(crc, zeros[:2])
		return uint16(crc32c(crc, b[0x20:]))
	}
	crc := crc16(0xFFFF, s.uuid[:])
	crc = crc16(crc, le.AppendUint32(nil, g))
	crc = crc16(crc, b[:0x1E])
	return crc16(crc, b[0x20:])
}

func (s *super) descChecks(b []byte, g uint32) bool {
	if !s.hasCsum() && s.ro&roGdtCsum == 0 {
		return true
	}
	return s.descSum(b, g) == le.Uint16(b[0x1E:])
}

// freeBlocks sums up what the groups say. The superblock's own count is from the
// last time that the guest unmounted.
func (v *volume) freeBlocks() uint64 {
	if v.sb.groups > maxCounted {
		return v.sb.free
	}
	var free uint64
	for g := range v.sb.groups {
		d, err := v.group(g)
		if err != nil {
			return v.sb.free
		}
		free += d.free
	}
	return free * uint64(v.sb.clusterSize/v.sb.blockSize)
}
