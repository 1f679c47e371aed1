package xfs

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	magicFreeHead  = 0x58414746 // "XAGF", in a group's second sector
	magicInodeHead = 0x58414749 // "XAGI", in its third
	maxCopies      = 16         // copies of the superblock that are tried
)

// findSuper reads the superblock, or one of its copies where it is damaged, and
// then says so.
func findSuper(r io.ReaderAt, size int64) (*super, string, error) {
	s, err := readSuper(r, 0)
	var refused *tree.UnsupportedError
	if err == nil && s.inProgress {
		err = corrupt("the superblock", 0, "mkfs or xfs_copy did not come to an end")
		return nil, "", err
	}
	if err == nil || errors.As(err, &refused) {
		return s, "", err
	}
	for _, group := range groupSizes(r, size) {
		if s := copyOf(r, size, group); s != nil {
			return s, fmt.Sprintf("its superblock is damaged, the copy at %d was read in its place (%v)", s.at, err), nil
		}
	}
	return nil, "", err
}

// readSuper reads the superblock at an offset: the whole of its sector, of
// whatever size that is.
func readSuper(r io.ReaderAt, at int64) (*super, error) {
	b := make([]byte, 32<<10)
	n, err := r.ReadAt(b, at)
	if n < superLength {
		return nil, fmt.Errorf("read the superblock at %d: %w", at, err)
	}
	return parseSuper(b[:n], at)
}

// groupSizes are the sizes in bytes that the groups of a volume may have: as the
// head of the first one says, or as mkfs divides a volume.
func groupSizes(r io.ReaderAt, size int64) []int64 {
	var sizes []int64
	head := make([]byte, 32)
	for sector := int64(512); sector <= 4096; sector *= 2 {
		if n, _ := r.ReadAt(head, sector); n == len(head) && be.Uint32(head) == magicFreeHead {
			for block := int64(minBlock); block <= maxBlock; block *= 2 {
				sizes = append(sizes, int64(be.Uint32(head[24:]))*block)
			}
		}
	}
	for _, groups := range []int64{4, 2, 8, 16, 32} {
		for block := int64(4096); block >= minBlock; block /= 2 {
			blocks := size / block
			sizes = append(sizes, (blocks+groups-1)/groups*block, blocks/groups*block)
		}
	}
	return append(sizes, 1<<40)
}

// copyOf looks for a good copy on a volume whose groups have so many bytes. The
// last group and the middle one come first: mkfs leaves the root's number out of
// the others.
func copyOf(r io.ReaderAt, size, group int64) *super {
	if group <= 0 || group >= size {
		return nil
	}
	last := (size - 1) / group
	places := []int64{last, last / 2, (last + 1) / 2, last - 1}
	for n := int64(1); n <= last && len(places) < maxCopies; n++ {
		places = append(places, n)
	}
	for i, n := range places {
		if n < 1 || slices.Contains(places[:i], n) {
			continue
		}
		s, err := readSuper(r, n*group)
		if err == nil && s.root != nullInode && s.root != 0 && int64(s.agBlocks)*int64(s.block) == group {
			return s
		}
	}
	return nil
}

// used is how many bytes are taken, -1 where nobody counted: after a replay the
// superblock's count is old, and the heads of the groups are added up.
func (v *volume) used() int64 {
	free := v.free
	if v.over != nil || v.at != 0 {
		if v.agCount > 4096 {
			return -1
		}
		free = 0
		for n := range v.agCount {
			p, err := v.meta(int64(n*v.agBlocks)*int64(v.block)+int64(v.sector), 128)
			if err != nil || be.Uint32(p.b) != magicFreeHead {
				return -1
			}
			// free blocks, those of the list kept for the trees, those of the trees
			free += uint64(be.Uint32(p.b[52:])) + uint64(be.Uint32(p.b[48:]))
			free += uint64(be.Uint32(p.b[60:]))
		}
	}
	if free+v.logBlocks > v.blocks {
		return -1
	}
	return int64(v.blocks-v.logBlocks-free) * int64(v.block)
}
