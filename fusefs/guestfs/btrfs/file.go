package btrfs

import (
	"fmt"
	"io"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// file is the content of a regular file, or the target of a link.
type file struct {
	v *volume
	i *inode
}

// Open implements tree.FileSystem.
func (v *volume) Open(ino uint64) (tree.File, error) {
	i, err := v.stat(inside(ino))
	if err != nil {
		return nil, err
	}
	if !i.is(typeRegular) {
		return nil, unsupported(i.String(), "it is not a regular file")
	}
	return &file{v, i}, nil
}

// extents yields the extents from the one that holds an offset on.
func (f *file) extents(off uint64) iter.Seq2[extent, error] {
	return func(yield func(extent, error) bool) {
		first, last := key{f.i.id, typeExtentData, 0}, key{f.i.id, typeExtentData, lastKey.off}
		from := key{f.i.id, typeExtentData, off}
		i, ok, err := f.i.s.floor(from, first)
		if err != nil {
			yield(extent{}, fmt.Errorf("%v: %w", f.i.inodeNumber, err))
			return
		}
		if ok {
			from = i.key
		}
		end := uint64(0)
		for i, err := range f.i.s.scan(from, last) {
			var e extent
			if err == nil {
				e, err = f.v.parseExtent(i)
			}
			if err == nil && e.off < end {
				err = corrupt(fmt.Sprintf("the extent at %d of inode %d", e.off, i.id), "it overlaps the one before, which ends at %d", end)
			}
			if err != nil {
				yield(extent{}, fmt.Errorf("%v: %w", f.i.inodeNumber, err))
				return
			}
			if !yield(e, nil) {
				return
			}
			end = e.end()
		}
	}
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %v at %d: the offset is negative", f.i.inodeNumber, off)
	}
	if off >= f.i.size {
		return 0, io.EOF
	}
	var atEnd error
	if int64(len(p)) > f.i.size-off {
		p, atEnd = p[:f.i.size-off], io.EOF
	}
	done := 0
	for e, err := range f.extents(uint64(off)) {
		if err != nil {
			return done, err
		}
		pos := uint64(off) + uint64(done)
		if e.end() <= pos {
			continue
		}
		if e.off > pos {
			done += zero(p[done:], e.off-pos)
			pos = e.off
		}
		if done == len(p) {
			break
		}
		n := int(min(uint64(len(p)-done), e.end()-pos))
		if err := f.readExtent(p[done:done+n], &e, pos-e.off); err != nil {
			return done, fmt.Errorf("%v at %d: %w", f.i.inodeNumber, pos, err)
		}
		if done += n; done == len(p) {
			break
		}
	}
	zero(p[done:], uint64(len(p)-done))
	return len(p), atEnd
}

// zero clears the first n bytes of p, or all of it.
func zero(p []byte, n uint64) int {
	k := int(min(uint64(len(p)), n))
	clear(p[:k])
	return k
}

// readExtent fills p from an offset of an extent.
func (f *file) readExtent(p []byte, e *extent, off uint64) error {
	checked := le.Uint64(f.i.b[64:])&flagNoSums == 0
	switch {
	case e.empty():
		clear(p)
		return nil
	case e.kind == extentRegular && e.packed == packedNot:
		return f.v.readData(p, e.at+e.skip+off, checked)
	}
	plain, err := f.v.unpacked(e, checked)
	if err != nil {
		return err
	}
	n := 0
	if from := e.skip + off; from < uint64(len(plain)) {
		n = copy(p, plain[from:])
	}
	clear(p[n:])
	return nil
}

// Extents implements tree.File. What lies side by side is one.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		var run tree.Extent
		for e, err := range f.extents(0) {
			if err != nil {
				if run.Len == 0 || yield(run, nil) {
					yield(tree.Extent{}, err)
				}
				return
			}
			if e.off >= uint64(f.i.size) {
				break
			}
			if e.empty() || e.n == 0 {
				continue
			}
			off, n := int64(e.off), int64(min(e.end(), uint64(f.i.size))-e.off)
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
