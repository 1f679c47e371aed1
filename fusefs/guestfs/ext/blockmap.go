package ext

import (
	"fmt"
	"math/bits"
)

const direct = 12 // words of the map that name blocks of the file themselves

// mappedAt looks a block up in the map of ext2 and ext3: twelve words for the first
// blocks, then one each for a block of words, a block of such blocks, and one more.
func (v *volume) mappedAt(m *mapping, logical uint64) (run, error) {
	if logical < direct {
		return v.wordRun(m, m.words[:direct*4], logical, logical)
	}
	shift := bits.TrailingZeros64(uint64(v.sb.blockSize) / 4)
	base := uint64(direct)
	for level := 1; level <= 3; level++ {
		span := uint64(1) << (shift * level)
		if logical-base < span {
			return v.under(m, uint64(le.Uint32(m.words[(direct+level-1)*4:])), level, base, logical)
		}
		base += span
	}
	return run{logical: logical, count: maxFileBlocks - logical}, nil
}

// under walks down from a block of words to the one that names the block looked for.
func (v *volume) under(m *mapping, block uint64, level int, base, logical uint64) (run, error) {
	shift := bits.TrailingZeros64(uint64(v.sb.blockSize) / 4)
	for ; ; level-- {
		if block == 0 { // nothing was allocated below
			return run{logical: logical, count: min(base+1<<(shift*level), maxFileBlocks) - logical}, nil
		}
		b, _, err := v.block(block)
		if err != nil {
			return run{}, fmt.Errorf("block map of inode %d: %w", m.ino, err)
		}
		if level == 1 {
			return v.wordRun(m, b, logical-base, logical)
		}
		below := shift * (level - 1)
		i := (logical - base) >> below
		base += i << below
		block = uint64(le.Uint32(b[i*4:]))
	}
}

// wordRun collects the words from one on that follow each other, or are all zero.
func (v *volume) wordRun(m *mapping, b []byte, i, logical uint64) (run, error) {
	first := uint64(le.Uint32(b[i*4:]))
	r := run{logical: logical, count: 1, physical: first, data: first != 0}
	for n := uint64(len(b) / 4); i+r.count < n; r.count++ {
		word := uint64(le.Uint32(b[(i+r.count)*4:]))
		if r.data && word != first+r.count || !r.data && word != 0 {
			break
		}
	}
	r.count = min(r.count, maxFileBlocks-logical)
	if r.data && (first >= v.sb.blocks || r.count > v.sb.blocks-first) {
		return run{}, damagedInode(m.ino, "its block map: block %d of a volume of %d", first+r.count-1, v.sb.blocks)
	}
	return r, nil
}
