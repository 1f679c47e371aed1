package ntfs

import (
	"cmp"
	"fmt"
	"io"
	"iter"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

const (
	listAtOnce  = 64 << 10 // bytes of an index read at a time
	maxBadBlock = 1000     // after so many damaged blocks a folder is given up
	bitmapPiece = 4 << 10
)

// ReadDir yields the names of a folder, root first, then each block of its index
// that is in use: not by going down its tree, so that a damaged block
// loses the names in it only, and is the last that is yielded. A folder without names
// whose reparse point stands for another place is an error: it is not empty there.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		n, err := v.resolve(dir)
		var x *index
		if err == nil {
			x, err = v.index(n)
		}
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		named := false
		for e, err := range x.all() {
			if err != nil {
				yield(tree.Entry{}, err)
				return
			}
			if e.space == spaceDOS || hidden(e.ref) {
				continue
			}
			if named = true; !yield(x.entry(e)) {
				return
			}
		}
		if err := v.elsewhere(n); !named && err != nil {
			yield(tree.Entry{}, err)
		}
	}
}

// elsewhere is an error where a folder's reparse point says that its files are not in it.
func (v *volume) elsewhere(n *inode) error {
	if len(n.parts(kindReparse, "")) == 0 {
		return nil
	}
	s, err := v.standard(n)
	if err != nil {
		return notMissing(err, n)
	}
	p, err := v.special(n, s.attributes)
	if err == nil && p.blocked != "" {
		err = &tree.UnsupportedError{What: n.String(), Why: p.blocked}
	}
	return err
}

// entry checks an entry for those who list it.
func (x *index) entry(e indexEntry) (tree.Entry, error) {
	out := tree.Entry{Name: wtf8.Decode(e.raw), Ino: e.ref}
	if out.Name == "." || out.Name == ".." || strings.ContainsAny(out.Name, "/\x00") {
		return out, &tree.CorruptError{What: fmt.Sprintf("the entry %q of %s", out.Name, x.n), Why: "no file can have this name", At: x.n.at}
	}
	switch {
	case e.attributes&attrReparse != 0: // a link or not: its tag tells
	case e.attributes&nameOfFolder != 0:
		out.Type = unix.S_IFDIR
	case e.attributes&attrSystem == 0: // a system file can be a link of Interix
		out.Type = unix.S_IFREG
	}
	return out, x.checkParent(e.fileName)
}

// all yields every entry with a name. Damage of a block is the last that it yields.
func (x *index) all() iter.Seq2[indexEntry, error] {
	return func(yield func(indexEntry, error) bool) {
		var damage error
		more := x.names(x.root, yield, &damage)
		bad := 0
		for off, err := range x.used() {
			if !more || bad > maxBadBlock {
				break
			}
			var node []byte
			if err == nil {
				node, err = x.node(off)
			}
			if err != nil {
				damage = cmp.Or(damage, err)
				bad++
				continue
			}
			more = x.names(node, yield, &damage)
		}
		if more && damage != nil {
			yield(indexEntry{}, damage)
		}
	}
}

// names yields the named entries of a node and reports whether more is wanted.
func (x *index) names(node []byte, yield func(indexEntry, error) bool, damage *error) bool {
	for e, err := range x.entries(node) {
		if err != nil {
			*damage = cmp.Or(*damage, err)
			return true
		}
		if !e.last && !yield(e, nil) {
			return false
		}
	}
	return true
}

// used yields the offsets of the blocks that the index uses, after reading ahead.
func (x *index) used() iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		if x.blocks == nil {
			return
		}
		bitmap, err := x.v.stream(x.n, kindBitmap, folderIndex)
		if err != nil {
			yield(0, notMissing(err, x.n))
			return
		}
		count := min(x.blocks.size/x.block, bitmap.size*8)
		piece, ahead := make([]byte, bitmapPiece), int64(0)
		for i := int64(0); i < count; i++ {
			if bit := i % (8 * bitmapPiece); bit == 0 {
				if _, err := bitmap.ReadAt(piece[:min(bitmapPiece, bitmap.size-i/8)], i/8); err != nil && err != io.EOF {
					yield(0, err)
					return
				}
			}
			if piece[i/8%bitmapPiece]>>(i%8)&1 == 0 {
				continue
			}
			if i*x.block >= ahead {
				ahead = x.readAhead(i * x.block)
			}
			if !yield(i*x.block, nil) {
				return
			}
		}
	}
}

// readAhead keeps the blocks from an offset on, and returns up to where. What
// cannot be read or is damaged is met again when its turn comes.
func (x *index) readAhead(off int64) int64 {
	n := min(max(listAtOnce, x.block), x.blocks.size-off) / x.block * x.block
	if _, ok := x.v.blocks.Get(blockKey{x.n.number, off}); ok {
		return off + x.block
	}
	b := make([]byte, n)
	if _, err := x.blocks.readRuns(b, off); err != nil {
		return off + n
	}
	for i := int64(0); i < n; i += x.block {
		if string(b[i:i+4]) == "INDX" { // others are not in use
			_, _ = x.check(b[i:i+x.block:i+x.block], off+i)
		}
	}
	return off + n
}
