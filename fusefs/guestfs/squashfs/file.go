package squashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const markEvery = 64 // blocks of a file between two places that are kept

// file is the content of one. It may be read from several goroutines.
type file struct {
	v *volume
	n *inode

	once   sync.Once // guards the reading of the list; nothing below changes after it
	sizes  []uint32  // of each full block; 0 is a hole
	places []int64   // of every markEvery-th
	err    error
}

// Open returns the content of a regular file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	n, err := v.inode(ino)
	switch {
	case err != nil:
		return nil, err
	case n.kind != kindFile:
		return nil, fmt.Errorf("inode %d is not a regular file: %w", ino, fs.ErrInvalid)
	}
	f := &file{v: v, n: n}
	if f.blocks() > v.maxBlocks {
		return nil, &tree.UnsupportedError{What: fmt.Sprintf("file %d", ino), Why: fmt.Sprintf("it has %d blocks, whose list takes too much memory", f.blocks())}
	}
	return f, nil
}

// blocks is how many of them the list has: the rest of a file may be in a fragment.
func (f *file) blocks() int64 {
	n := f.n.attr.Size / f.v.block
	if f.n.fragment == noFragment && f.n.attr.Size%f.v.block != 0 {
		n++
	}
	return n
}

// readList reads the sizes of all blocks, once.
func (f *file) readList() {
	c, at := *f.n.list, f.n.start
	for left := f.blocks(); left > 0; {
		part := min(left, metaSize/4)
		b, err := c.take(int(part) * 4)
		if err != nil {
			f.err = fmt.Errorf("file %d: its list of blocks: %w", f.n.ino, err)
			return
		}
		for ; len(b) > 0; b = b[4:] {
			if len(f.sizes)%markEvery == 0 {
				f.places = append(f.places, at)
			}
			size := le.Uint32(b)
			f.sizes = append(f.sizes, size)
			at += int64(size &^ blockStored)
		}
		left -= part
	}
}

// ReadAt decompresses the blocks that it needs; those read last are kept.
func (f *file) ReadAt(p []byte, off int64) (done int, err error) {
	size := f.n.attr.Size
	if off < 0 {
		return 0, fmt.Errorf("file %d: read at %d", f.n.ino, off)
	}
	if off >= size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > size-off {
		p, end = p[:size-off], io.EOF
	}
	f.once.Do(f.readList)
	if f.err != nil {
		return 0, f.err
	}
	for done < len(p) {
		at := off + int64(done)
		index, in := at/f.v.block, at%f.v.block
		length := min(f.v.block, size-index*f.v.block)
		part := p[done:]
		part = part[:min(int64(len(part)), length-in)]
		b, err := f.block(index, length)
		if err != nil {
			return done, fmt.Errorf("file %d at %d: %w", f.n.ino, at, err)
		}
		if b == nil {
			clear(part)
		} else {
			copy(part, b[in:])
		}
		done += len(part)
	}
	return done, end
}

// block returns the content of one, nil for a hole.
func (f *file) block(index, length int64) ([]byte, error) {
	if index == int64(len(f.sizes)) {
		return f.tail(length)
	}
	at := f.places[index/markEvery]
	for _, size := range f.sizes[index/markEvery*markEvery : index] {
		at += int64(size &^ blockStored)
	}
	if f.sizes[index] == 0 {
		return nil, nil
	}
	b, err := f.v.data(at, f.sizes[index])
	if err == nil && int64(len(b)) != length {
		err = &tree.CorruptError{What: "a block", Why: fmt.Sprintf("it has %d bytes, and should have %d", len(b), length), At: at}
	}
	return b, err
}

// tail returns the end of a file, which lies in a fragment together with others.
func (f *file) tail(length int64) ([]byte, error) {
	v := f.v
	if int64(f.n.fragment) >= v.fragments || v.fragmentTable < 0 {
		return nil, f.n.corrupt(v, "its end is in fragment %d of %d", f.n.fragment, v.fragments)
	}
	e, err := v.entryOf(v.fragmentTable, int64(f.n.fragment), 16)
	if err != nil {
		return nil, err
	}
	b, err := v.data(int64(le.Uint64(e)), le.Uint32(e[8:]))
	if err != nil {
		return nil, err
	}
	if int64(f.n.offset)+length > int64(len(b)) {
		return nil, f.n.corrupt(v, "its end is at %d of a fragment of %d bytes", f.n.offset, len(b))
	}
	return b[f.n.offset:][:length], nil
}

// data reads a block of files' content, whose size tells whether it is compressed.
func (v *volume) data(at int64, size uint32) ([]byte, error) {
	if b, ok := v.blocks.Get(at); ok {
		return b, nil
	}
	bad := func(why string, args ...any) ([]byte, error) {
		return nil, &tree.CorruptError{What: "a block", Why: fmt.Sprintf(why, args...), At: at}
	}
	length := int64(size &^ blockStored)
	if length == 0 || length > v.block || at < superSize || at > v.end-length {
		return bad("it has %d bytes, on a volume of %d", length, v.end)
	}
	b := make([]byte, length)
	if err := tree.ReadFull(v.r, b, at); err != nil {
		return nil, fmt.Errorf("block at %d of the volume: %w", at, err)
	}
	if size&blockStored == 0 {
		out := make([]byte, v.block)
		n, err := v.decoder(out, b)
		if err != nil {
			var unsupported *tree.UnsupportedError
			if errors.As(err, &unsupported) {
				return nil, err
			}
			return bad("it cannot be decompressed: %v", err)
		}
		b = out[:n]
	}
	v.blocks.Put(at, b, int64(cap(b)))
	return b, nil
}

// Extents yields what is no hole; the end in a fragment is none.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		f.once.Do(f.readList)
		if f.err != nil {
			yield(tree.Extent{}, f.err)
			return
		}
		from, block, size := int64(-1), f.v.block, f.n.attr.Size
		for i, s := range f.sizes {
			at := int64(i) * block
			if s == 0 && from >= 0 {
				if !yield(tree.Extent{Off: from, Len: at - from}, nil) {
					return
				}
				from = -1
			} else if s != 0 && from < 0 {
				from = at
			}
		}
		if whole := int64(len(f.sizes)) * block; from < 0 && size > whole {
			from = whole
		}
		if from >= 0 {
			yield(tree.Extent{Off: from, Len: size - from}, nil)
		}
	}
}
