package udf

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// file is the content of one. It may be read from several goroutines.
type file struct {
	v      *volume
	ino    uint64
	at     int64 // of its entry
	size   int64
	inline []byte // nil: it is in runs
	runs   []run
}

// Open returns the content of a file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	e, err := v.entry(ino)
	if err != nil {
		return nil, err
	}
	if m, err := e.mode(); err != nil || m&unix.S_IFMT != unix.S_IFREG {
		return nil, fmt.Errorf("inode %d is not a regular file: %w", ino, fs.ErrInvalid)
	}
	f, err := v.content(e)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// content is that of any kind of file.
func (v *volume) content(e *entry) (*file, error) {
	f := &file{v: v, ino: inoOf(e.ref, e.block), at: e.at, size: e.size}
	var err error
	switch form := e.flags & flagsForm; form {
	case formShort, formLong:
		f.runs, err = v.runs(e)
	case formInline:
		if f.inline = e.extents; e.size > int64(len(e.extents)) {
			err = corrupt(fmt.Sprintf("file entry %d", f.ino), e.at, "it has %d bytes, of which %d lie in it", e.size, len(e.extents))
		}
	default:
		err = &tree.UnsupportedError{What: fmt.Sprintf("file %d", f.ino), Why: fmt.Sprintf("its extents are of form %d", form)}
	}
	return f, err
}

// ReadAt reads straight into p, with one read of the volume for each piece.
func (f *file) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("file %d: read at %d", f.ino, off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	if f.inline != nil {
		return copy(p, f.inline[off:]), end
	}
	for done < len(p) {
		n, err := f.piece(p[done:], off+int64(done))
		if err != nil {
			return done, fmt.Errorf("file %d at %d: %w", f.ino, off+int64(done), err)
		}
		done += n
	}
	return done, end
}

// runAt finds the extent of a byte.
func (f *file) runAt(off int64) (run, error) {
	i := sort.Search(len(f.runs), func(i int) bool { return f.runs[i].off+f.runs[i].length > off })
	if i == len(f.runs) {
		return run{}, corrupt(fmt.Sprintf("file entry %d", f.ino), f.at, "its extents end before byte %d of %d", off, f.size)
	}
	return f.runs[i], nil
}

// piece reads what lies in one piece from off on.
func (f *file) piece(p []byte, off int64) (int, error) {
	r, err := f.runAt(off)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), r.off+r.length-off)]
	if r.hole {
		clear(p)
		return len(p), nil
	}
	within := (off - r.off) % f.v.block
	at, blocks, err := f.locate(off-within, within+int64(len(p)))
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), int64(blocks)*f.v.block-within)]
	return len(p), f.v.read(p, at*f.v.block+within)
}

// locate returns where the block at off, a multiple of the block size, lies on the
// volume, and how many of those that length bytes are in lie there in one piece.
func (f *file) locate(off, length int64) (at int64, run uint32, err error) {
	r, err := f.runAt(off)
	if err != nil {
		return 0, 0, err
	}
	if r.hole {
		return 0, 0, corrupt(fmt.Sprintf("file entry %d", f.ino), f.at, "byte %d is in a hole", off)
	}
	first := int64(r.block) + (off-r.off)/f.v.block
	blocks := (min(length, r.off+r.length-off) + f.v.block - 1) / f.v.block
	if int(r.ref) >= len(f.v.parts) || f.v.parts[r.ref] == nil || first+blocks > 1<<32-1 {
		return 0, 0, corrupt(fmt.Sprintf("file entry %d", f.ino), f.at, "it lies in block %d of partition %d", first, r.ref)
	}
	return f.v.parts[r.ref].locate(uint32(first), uint32(blocks))
}

// Extents yields what was recorded.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if f.inline != nil {
			if f.size > 0 {
				yield(tree.Extent{Len: f.size}, nil)
			}
			return
		}
		for _, r := range f.runs {
			if !r.hole && !yield(tree.Extent{Off: r.off, Len: r.length}, nil) {
				return
			}
		}
		if end := f.end(); end < f.size { // a read says what is wrong with it
			yield(tree.Extent{Off: end, Len: f.size - end}, nil)
		}
	}
}
