package ext

import (
	"io"
	"slices"
	"sort"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// overlay is the volume as it is once its journal is replayed: some blocks are
// read from where their last copy lies in the journal, and a few are kept in
// memory. It is only read from when the journal is done.
type overlay struct {
	dev     io.ReaderAt
	block   int64
	copies  []journalCopy // ascending
	patched []patchedBlock
}

// patchedBlock is one that fast commits changed; they ascend.
type patchedBlock struct {
	block uint64
	data  []byte
}

// journalCopy says which block of the volume holds the newest content of another.
// The lowest bit of at means that the copy's first word was the journal's magic
// number and is replaced by zero there.
type journalCopy struct{ block, at uint64 }

// ReadAt reads each stretch of blocks that have no copy at once.
func (o *overlay) ReadAt(p []byte, off int64) (done int, err error) {
	for done < len(p) {
		at := off + int64(done)
		n, err := o.piece(p[done:], uint64(at/o.block), at%o.block)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// piece reads from inside a block on as much as lies in one place.
func (o *overlay) piece(p []byte, block uint64, inside int64) (int, error) {
	i := sort.Search(len(o.copies), func(i int) bool { return o.copies[i].block >= block })
	k := o.patchedFrom(block)
	if k < len(o.patched) && o.patched[k].block == block {
		return copy(p, o.patched[k].data[inside:]), nil
	}
	if i < len(o.copies) && o.copies[i].block == block {
		p = p[:min(int64(len(p)), o.block-inside)]
		return o.copied(p, o.copies[i].at, inside)
	}
	end := block + uint64(inside+int64(len(p))+o.block-1)/uint64(o.block)
	if i < len(o.copies) {
		end = min(end, o.copies[i].block)
	}
	if k < len(o.patched) {
		end = min(end, o.patched[k].block)
	}
	p = p[:min(int64(len(p)), int64(end-block)*o.block-inside)]
	err := tree.ReadFull(o.dev, p, int64(block)*o.block+inside)
	return len(p), err
}

func (o *overlay) patchedFrom(block uint64) int {
	return sort.Search(len(o.patched), func(k int) bool { return o.patched[k].block >= block })
}

// patch returns a block that may be written to, and whether it is newly kept.
func (o *overlay) patch(block uint64) (data []byte, added bool, err error) {
	k := o.patchedFrom(block)
	if k < len(o.patched) && o.patched[k].block == block {
		return o.patched[k].data, false, nil
	}
	data = make([]byte, o.block)
	if _, err := o.ReadAt(data, int64(block)*o.block); err != nil {
		return nil, false, readError(block, o.block, err)
	}
	o.patched = slices.Insert(o.patched, k, patchedBlock{block, data})
	return data, true, nil
}

func (o *overlay) copied(p []byte, at uint64, inside int64) (int, error) {
	if err := tree.ReadFull(o.dev, p, int64(at>>1)*o.block+inside); err != nil {
		return 0, err
	}
	if at&1 != 0 && inside < 4 {
		var magic [4]byte
		be.PutUint32(magic[:], journalMagic)
		copy(p, magic[inside:])
	}
	return len(p), nil
}
