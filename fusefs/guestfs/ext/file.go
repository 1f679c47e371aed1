package ext

import (
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// file is the content of a regular file.
type file struct {
	v      *volume
	m      mapping
	size   int64
	inline []byte
	inside bool // the content is inline
}

// Open returns the content of a regular file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	in, err := v.inode(ino)
	if err != nil {
		return nil, err
	}
	if in.kind() != modeFile {
		return nil, fmt.Errorf("open inode %d: not a regular file: %w", ino, fs.ErrInvalid)
	}
	if in.has(flagEncrypted) {
		return nil, encrypted(in.number, "content")
	}
	return v.content(&in)
}

func (v *volume) content(in *inode) (*file, error) {
	f := &file{v: v}
	var err error
	if f.size, err = v.sizeOf(in); err != nil {
		return nil, err
	}
	if in.has(flagInline) {
		f.inside = true
		f.inline, err = v.inlineData(in, f.size)
		return f, err
	}
	f.m, err = v.mapping(in)
	return f, err
}

// ReadAt reads straight into p, in one read for each piece of the file that lies
// together on the volume.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read inode %d at %d: %w", f.m.ino, off, fs.ErrInvalid)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	if f.inside {
		n := 0
		if off < int64(len(f.inline)) {
			n = copy(p, f.inline[off:])
		}
		clear(p[n:])
		return len(p), end
	}
	n, err := f.read(p, off)
	if err != nil {
		return n, err
	}
	return n, end
}

func (f *file) read(p []byte, off int64) (done int, err error) {
	block := f.v.sb.blockSize
	last := uint64((off + int64(len(p)) + block - 1) / block)
	for done < len(p) {
		at := off + int64(done)
		r, err := f.v.merged(&f.m, uint64(at/block), last)
		if err != nil {
			return done, err
		}
		length := int64(r.count)*block - at%block
		part := p[done : done+int(min(length, int64(len(p)-done)))]
		if !r.data {
			clear(part)
		} else if err := tree.ReadFull(f.v.dev, part, int64(r.physical)*block+at%block); err != nil {
			return done, fmt.Errorf("read inode %d at %d: %w", f.m.ino, at, readError(r.physical, block, err))
		}
		done += len(part)
	}
	return done, nil
}

// Extents yields the parts that hold data. Blocks that were allocated and never
// written are holes.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if f.inside {
			if f.size > 0 {
				yield(tree.Extent{Len: f.size}, nil)
			}
			return
		}
		f.extents(yield)
	}
}

func (f *file) extents(yield func(tree.Extent, error) bool) {
	block := f.v.sb.blockSize
	total := uint64((f.size + block - 1) / block)
	limit := f.v.runLimit()
	var held tree.Extent // grows while what follows adjoins
	for at, steps := uint64(0), uint64(0); at < total; steps++ {
		r, err := f.v.merged(&f.m, at, total)
		if err == nil && steps > limit {
			err = damagedInode(f.m.ino, "it has more pieces than the volume has blocks")
		}
		if err != nil {
			if held.Len == 0 || yield(held, nil) {
				yield(tree.Extent{}, err)
			}
			return
		}
		if at = r.end(); !r.data {
			continue
		}
		e := tree.Extent{Off: int64(r.logical) * block}
		e.Len = min(int64(r.end())*block, f.size) - e.Off
		if held.Len > 0 && held.Off+held.Len == e.Off {
			held.Len += e.Len
			continue
		}
		if held.Len > 0 && !yield(held, nil) {
			return
		}
		held = e
	}
	if held.Len > 0 {
		yield(held, nil)
	}
}

// present is how many blocks the volume really has, whatever its superblock says.
// No loop over what a file is made of is longer than a small multiple of that.
func (v *volume) present() uint64 { return min(v.sb.blocks, uint64(v.size/v.sb.blockSize)+1) }

// runLimit is more pieces than any file can have: every other may be a hole.
func (v *volume) runLimit() uint64 { return 2*v.present() + 1024 }
