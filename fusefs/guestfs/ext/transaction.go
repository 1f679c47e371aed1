package ext

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Flags of a tag.
const (
	tagEscaped  = 1
	tagSameUUID = 2
	tagLast     = 8
)

// logScan goes through the log once. What a transaction holds counts when its
// commit block is met; a revoke record then strikes out all older copies of its
// block, and those of the same transaction.
type logScan struct {
	j       *journal
	at      uint64
	left    uint64 // blocks that the log can still have
	seq     uint32
	copies  map[uint64]uint64 // as in journalCopy
	pending []journalCopy
	revoked []uint64
	sum     uint32 // of the transaction, in the first kind of checksums
	limit   int
	applied int
	skipped int // copies with another checksum
	damage  string
}

// apply replays all transactions that are whole, then the fast commits behind
// the last of them.
func (j *journal) apply(memory int64) error {
	s := &logScan{j: j, at: j.start, left: j.last - j.first, seq: j.seq, copies: map[uint64]uint64{}, sum: allOnes, limit: int(memory / copyCost)}
	for s.left > 0 {
		more, err := s.step()
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	v := j.v
	o := &overlay{dev: j.dev, block: v.sb.blockSize, copies: make([]journalCopy, 0, len(s.copies))}
	for _, block := range slices.Sorted(maps.Keys(s.copies)) {
		o.copies = append(o.copies, journalCopy{block, s.copies[block]})
	}
	v.dev = o
	v.cache.dev = o
	v.cache.clear()
	v.newerSuper()
	if s.damage != "" {
		v.note("the journal ends with damage at transaction %d: %s", s.seq, s.damage)
	}
	if s.skipped > 0 {
		v.note("%d blocks in the journal do not have their checksums and were left out", s.skipped)
	}
	if j.incompat&journalFast != 0 {
		if err := j.applyFast(o, s.seq, memory); err != nil {
			v.note("fast commits at the end of the journal were not all replayed: %v", err)
		}
	}
	return nil
}

// newerSuper takes over the superblock that the journal held, if it fits.
func (v *volume) newerSuper() {
	b := make([]byte, superSize)
	if tree.ReadFull(v.dev, b, superOffset) != nil {
		return
	}
	s, err := parseSuper(b, superOffset)
	if err == nil && s.blockSize == v.sb.blockSize && s.uuid == v.sb.uuid && s.incompat&^incompatKnown == 0 {
		v.sb = s
	}
}

// step handles one block of the log and what belongs to it. It returns false at
// the end: the first block that does not continue the log.
func (s *logScan) step() (more bool, err error) {
	b, err := s.j.read(s.at)
	if err != nil {
		return false, err
	}
	if be.Uint32(b) != journalMagic || be.Uint32(b[8:]) != s.seq {
		return false, nil
	}
	at := s.at
	s.advance()
	switch kind := be.Uint32(b[4:]); kind {
	case blockDescriptor:
		if !s.tailHolds(b) {
			return false, s.torn(at)
		}
		return s.descriptor(bytes.Clone(b))
	case blockRevoke:
		if !s.tailHolds(b) {
			return false, s.torn(at)
		}
		return true, s.revoke(b)
	case blockCommit:
		return s.commit(b)
	default:
		s.damage = fmt.Sprintf("block %d of it is of kind %d", at, kind)
		return false, nil
	}
}

func (s *logScan) advance() {
	s.at = s.j.next(s.at)
	s.left--
}

// tailHolds verifies the checksum at the end of a descriptor or revoke block.
func (s *logScan) tailHolds(b []byte) bool {
	if !s.j.checked() {
		return true
	}
	end := len(b) - 4
	crc := crc32c(s.j.seed, b[:end])
	return crc32c(crc, zeros) == be.Uint32(b[end:])
}

// torn ends the log at a block with another checksum. The last that the guest was
// writing may be like that; it is damage when the transaction was committed.
func (s *logScan) torn(at uint64) error {
	for ; s.left > 0; s.advance() {
		b, err := s.j.read(s.at)
		if err != nil {
			return err
		}
		if be.Uint32(b) == journalMagic && be.Uint32(b[4:]) == blockCommit && be.Uint32(b[8:]) == s.seq && s.commitHolds(b) {
			s.damage = fmt.Sprintf("block %d of it has another checksum, yet it was committed", at)
			return nil
		}
	}
	return nil
}

// tag is an entry of a descriptor block: where a block of the log belongs.
type tag struct {
	block uint64
	flags uint32
	sum   uint32
}

// tagSize depends on the kind of checksums and on the size of block numbers.
func (j *journal) tagSize() int {
	size := 8
	if j.incompat&journalCsumV3 != 0 {
		return 16
	}
	if j.incompat&journalCsumV2 != 0 {
		size += 2
	}
	if j.incompat&journal64bit != 0 {
		size += 4
	}
	return size
}

func (j *journal) parseTag(b []byte) tag {
	t := tag{block: uint64(be.Uint32(b))}
	high := 8
	if j.incompat&journalCsumV3 != 0 {
		t.flags, t.sum = be.Uint32(b[4:]), be.Uint32(b[12:])
	} else {
		t.sum, t.flags = uint32(be.Uint16(b[4:])), uint32(be.Uint16(b[6:]))
	}
	if j.incompat&journal64bit != 0 {
		t.block |= uint64(be.Uint32(b[high:])) << 32
	}
	return t
}

// descriptor goes through the tags of a block; a block of content follows it in
// the log for each.
func (s *logScan) descriptor(b []byte) (more bool, err error) {
	j := s.j
	end := len(b)
	if j.checked() {
		end -= 4
	}
	if j.compat&journalCompatChecksum != 0 {
		s.sum = crc32be(s.sum, b)
	}
	size := j.tagSize()
	for at := journalHeader; at+size <= end; {
		t := j.parseTag(b[at:])
		if at += size; t.flags&tagSameUUID == 0 {
			at += 16
		}
		if s.left == 0 {
			return false, nil
		}
		if err := s.copy(t); err != nil {
			return false, err
		}
		s.advance()
		if t.flags&tagLast != 0 {
			break
		}
	}
	return true, nil
}

// copy notes the block at which the log stands as the content of another.
func (s *logScan) copy(t tag) error {
	j := s.j
	at, err := j.physical(s.at)
	if err != nil {
		return err
	}
	if j.checked() || j.compat&journalCompatChecksum != 0 {
		b, err := j.read(s.at)
		if err != nil {
			return err
		}
		s.sum = s.sumCopy(b)
		if j.checked() && !j.copyHolds(b, t, s.seq) {
			s.skipped++
			return nil
		}
	}
	if t.block >= j.v.sb.blocks {
		s.skipped++
		return nil
	}
	c := journalCopy{t.block, at << 1}
	if t.flags&tagEscaped != 0 {
		c.at |= 1
	}
	s.pending = append(s.pending, c)
	return s.fits()
}

func (s *logScan) sumCopy(b []byte) uint32 {
	if s.j.compat&journalCompatChecksum != 0 {
		return crc32be(s.sum, b)
	}
	return s.sum
}

// copyHolds verifies a block of content by its tag, which has all of the checksum
// or its lower half.
func (j *journal) copyHolds(b []byte, t tag, seq uint32) bool {
	var number [4]byte
	be.PutUint32(number[:], seq)
	crc := crc32c(crc32c(j.seed, number[:]), b)
	if j.incompat&journalCsumV3 == 0 {
		crc &= 0xFFFF
	}
	return crc == t.sum
}

// fits holds the memory that the tables take to what is allowed.
func (s *logScan) fits() error {
	if len(s.copies)+len(s.pending)+len(s.revoked) > s.limit {
		return fmt.Errorf("it holds more than the %d blocks that the memory allowed for it can list", s.limit)
	}
	return nil
}

func (s *logScan) revoke(b []byte) error {
	size := 4
	if s.j.incompat&journal64bit != 0 {
		size = 8
	}
	end := int(min(uint32(len(b)), be.Uint32(b[journalHeader:])))
	for at := journalHeader + 4; at+size <= end; at += size {
		block := uint64(be.Uint32(b[at:]))
		if size == 8 {
			block = be.Uint64(b[at:])
		}
		s.revoked = append(s.revoked, block)
	}
	return s.fits()
}

// commit makes what its transaction holds count, when its checksum holds.
func (s *logScan) commit(b []byte) (more bool, err error) {
	if !s.commitHolds(b) {
		s.damage = "its commit block has another checksum"
		return false, nil
	}
	if err := s.fits(); err != nil {
		return false, err
	}
	for _, c := range s.pending {
		s.copies[c.block] = c.at
	}
	for _, block := range s.revoked {
		delete(s.copies, block)
	}
	s.pending, s.revoked, s.sum = s.pending[:0], s.revoked[:0], allOnes
	s.applied++
	s.seq++
	return true, nil
}

func (s *logScan) commitHolds(b []byte) bool {
	switch {
	case s.j.checked():
		crc := crc32c(s.j.seed, b[:0x10])
		crc = crc32c(crc, zeros)
		return crc32c(crc, b[0x14:]) == be.Uint32(b[0x10:])
	case s.j.compat&journalCompatChecksum != 0:
		kind, size, sum := b[0xC], b[0xD], be.Uint32(b[0x10:])
		return kind == 1 && size == 4 && sum == s.sum || kind == 0 && size == 0 && sum == 0
	}
	return true
}
