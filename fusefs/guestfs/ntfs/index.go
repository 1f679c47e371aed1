package ntfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	folderIndex = "$I30" // the index of a folder by name

	indexRootHeader  = 16
	indexNodeHeader  = 16
	indexBlockHeader = 24
	indexEntryHeader = 16

	entryHasChild = 1
	entryIsLast   = 2
)

// index is the tree of names of one folder.
type index struct {
	v      *volume
	n      *inode
	root   []byte  // its node within the record
	block  int64   // bytes of a block
	scale  int64   // bytes that the number of a block counts
	blocks *stream // nil when all is in the root
}

// blockKey names a block of a folder's index.
type blockKey struct {
	folder uint64
	off    int64
}

func (v *volume) index(n *inode) (*index, error) {
	if !n.dir {
		return nil, fmt.Errorf("%s is not a folder: %w", n, fs.ErrInvalid)
	}
	root, err := v.value(n, kindIndexRoot, folderIndex, maxRecord)
	if err != nil {
		return nil, notMissing(err, n)
	}
	if len(root) < indexRootHeader+indexNodeHeader || kind(le.Uint32(root)) != kindFileName {
		return nil, &tree.CorruptError{What: n.String(), Why: "its index is not one of names", At: n.at}
	}
	x := &index{v: v, n: n, root: root[indexRootHeader:], block: int64(le.Uint32(root[8:])), scale: v.cluster}
	if !power(x.block) || x.block < 512 || x.block > maxIndex {
		return nil, &tree.CorruptError{What: n.String(), Why: fmt.Sprintf("its index has blocks of %d bytes", x.block), At: n.at}
	}
	if x.block < v.cluster {
		x.scale = 512
	}
	if len(n.parts(kindIndex, folderIndex)) == 0 {
		return x, nil
	}
	if x.blocks, err = v.stream(n, kindIndex, folderIndex); err != nil {
		return nil, err
	}
	if most := v.size + x.block; x.blocks.size > most || x.blocks.unit != 0 {
		return nil, x.blocks.corrupt("it has %d bytes on a volume of %d", x.blocks.size, v.size)
	}
	return x, nil
}

// notMissing makes damage of an attribute that every inode of this kind has.
func notMissing(err error, n *inode) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &tree.CorruptError{What: n.String(), Why: err.Error(), At: n.at}
	}
	return err
}

// node returns the node of the block at an offset of the index.
func (x *index) node(off int64) ([]byte, error) {
	key := blockKey{x.n.number, off}
	if b, ok := x.v.blocks.Get(key); ok {
		return b[indexBlockHeader:], nil
	}
	b := make([]byte, x.block)
	if _, err := x.blocks.readRuns(b, off); err != nil {
		return nil, err
	}
	return x.check(b, off)
}

// check undoes the update sequence of a block, keeps it, and returns its node.
func (x *index) check(b []byte, off int64) ([]byte, error) {
	why := fixup(b, "INDX")
	if vcn := int64(le.Uint64(b[16:])); why == "" && vcn != off/x.scale {
		why = fmt.Sprintf("it says that it is block %d", vcn)
	}
	if why != "" {
		at, _, _ := x.blocks.extent(off)
		return nil, &tree.CorruptError{What: fmt.Sprintf("block %d of %s", off/x.scale, x.n), Why: why, At: at}
	}
	x.v.blocks.Put(blockKey{x.n.number, off}, b, x.block)
	return b[indexBlockHeader:], nil
}

// indexEntry is an entry of a node.
type indexEntry struct {
	fileName        // of all but the last
	ref      uint64 // of the file
	last     bool   // has no name: what is below it comes after all others
	child    int64  // number of the block below it, which has the names before it; -1 for none
}

// fileName is a name as $FILE_NAME and folders have it.
type fileName struct {
	parent     uint64
	attributes uint32
	space      byte
	raw        []byte // UTF-16
}

// Name spaces.
const (
	spaceDOS = 2 // the short name of a file that has another one
)

const fileNameHeader = 66

func parseFileName(b []byte) (fileName, error) {
	if len(b) < fileNameHeader || fileNameHeader+2*int(b[64]) > len(b) || b[64] == 0 {
		return fileName{}, fmt.Errorf("a name has %d bytes", len(b))
	}
	return fileName{parent: le.Uint64(b), attributes: le.Uint32(b[56:]), space: b[65],
		raw: b[fileNameHeader : fileNameHeader+2*int(b[64])]}, nil
}

// entries yields the entries of a node, the last included.
func (x *index) entries(node []byte) iter.Seq2[indexEntry, error] {
	return func(yield func(indexEntry, error) bool) {
		at, end := int64(le.Uint32(node)), min(int64(le.Uint32(node[4:])), int64(len(node)))
		for at >= indexNodeHeader && at+indexEntryHeader <= end {
			b := node[at:end]
			n := int64(le.Uint16(b[8:]))
			e, err := parseEntry(b, n)
			if err != nil {
				break
			}
			if !yield(e, nil) || e.last {
				return
			}
			at += n
		}
		yield(indexEntry{}, &tree.CorruptError{What: x.n.String(), At: x.n.at,
			Why: fmt.Sprintf("a node of its index cannot be decoded from byte %d on", at)})
	}
}

func parseEntry(b []byte, n int64) (indexEntry, error) {
	e := indexEntry{ref: le.Uint64(b), child: -1}
	key, flags := int64(le.Uint16(b[10:])), le.Uint16(b[12:])
	if n < indexEntryHeader || n%8 != 0 || n > int64(len(b)) {
		return e, fmt.Errorf("an entry has %d bytes", n)
	}
	end := n
	if flags&entryHasChild != 0 {
		if end -= 8; end < indexEntryHeader {
			return e, fmt.Errorf("an entry has %d bytes", n)
		}
		e.child = int64(le.Uint64(b[end:]))
		if e.child < 0 || e.child > maxVCN {
			return e, fmt.Errorf("an entry leads to block %d", e.child)
		}
	}
	if e.last = flags&entryIsLast != 0; e.last {
		return e, nil
	}
	if indexEntryHeader+key > end {
		return e, fmt.Errorf("an entry of %d bytes has a name of %d", n, key)
	}
	var err error
	e.fileName, err = parseFileName(b[indexEntryHeader : indexEntryHeader+key])
	return e, err
}
