package xfs

import (
	"fmt"
	"io"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// file is the content of a regular file.
type file struct {
	*fork
	size int64
}

// Open implements tree.FileSystem.
func (v *volume) Open(ino uint64) (tree.File, error) {
	i, err := v.inode(ino)
	if err != nil {
		return nil, err
	}
	if !i.is(typeRegular) {
		return nil, &tree.UnsupportedError{What: inodeName(ino), Why: "it is not a regular file"}
	}
	f, err := v.data(i)
	if err != nil {
		return nil, err
	}
	if f.local != nil {
		return nil, i.bad("its content is kept in a way that no file's is")
	}
	if be.Uint16(i.b[90:])&flagRealtime != 0 && (f.root != nil || len(f.list) > 0) {
		return nil, &tree.UnsupportedError{What: inodeName(ino), Why: "its content lies in the realtime part of the file system, which is not read; what is there can be had from the whole disks"}
	}
	return &file{f, i.size}, nil
}

// ReadAt implements io.ReaderAt: one read of the volume for each extent.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s at %d: the offset is negative", f.what, off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), f.size-off)]
	done := 0
	for done < len(want) {
		n, err := f.piece(want[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// piece fills the beginning of p with what one extent or hole gives.
func (f *file) piece(p []byte, off int64) (int, error) {
	size := int64(f.v.block)
	block := uint64(off / size)
	e, ok, err := f.find(block)
	if err != nil {
		return 0, err
	}
	if !ok || e.off > block || e.unwritten {
		n := int64(len(p))
		switch {
		case ok && e.off > block:
			n = within(n, e.off, size, off)
		case ok:
			n = within(n, e.end(), size, off)
		}
		clear(p[:n])
		return int(n), nil
	}
	n := within(int64(len(p)), e.end(), size, off)
	at, ok := f.v.address(e.start, e.n)
	if !ok {
		return 0, f.outside(e)
	}
	if err := f.v.readAt(p[:n], at+off-int64(e.off)*size); err != nil {
		return 0, fmt.Errorf("read %s at %d: %w", f.what, off, err)
	}
	return int(n), nil
}

// within cuts n bytes from an offset at the end of a block run.
func within(n int64, end uint64, size, off int64) int64 {
	if end > 1<<62/uint64(size) { // further than any file reaches
		return n
	}
	return min(n, int64(end)*size-off)
}

// Extents implements tree.File: neighbours are given as one.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		var run tree.Extent
		size := int64(f.v.block)
		blocks := (uint64(f.size) + uint64(size) - 1) / uint64(size)
		for block := uint64(0); block < blocks; {
			e, ok, err := f.find(block)
			if err != nil {
				if run.Len == 0 || yield(run, nil) {
					yield(tree.Extent{}, err)
				}
				return
			}
			if !ok || e.off >= blocks {
				break
			}
			block = e.end()
			if e.unwritten {
				continue
			}
			off := int64(e.off) * size
			n := within(f.size-off, e.end(), size, off)
			if run.Len > 0 && run.Off+run.Len == off {
				run.Len += n
				continue
			}
			if run.Len > 0 && !yield(run, nil) {
				return
			}
			run = tree.Extent{Off: off, Len: n}
		}
		if run.Len > 0 {
			yield(run, nil)
		}
	}
}
