package ntfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/ntfs/wof"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// packed is the content of a file that WOF compressed. Its size is that of the file's
// own content, which is a hole; the chunks are in a stream beside it.
type packed struct {
	s *stream // the compressed chunks and their table
	l wof.Layout
}

var _ tree.File = (*packed)(nil)

const (
	tablePiece = 1024      // chunks whose places are kept at a time
	packedPart = 128 << 10 // bytes of chunks that are read at a time
)

// openPacked opens the content of a file whose reparse point is of WOF.
func (v *volume) openPacked(n *inode, m wof.Method) (tree.File, error) {
	size, _, err := v.sizes(n)
	if err != nil {
		return nil, err
	}
	s, err := v.stream(n, kindData, wofStream)
	if errors.Is(err, fs.ErrNotExist) && size > 0 {
		return nil, &tree.CorruptError{What: n.String(), At: n.at, Why: "it is compressed (WOF), and the stream with its content is not there"}
	}
	if size == 0 {
		return emptyFile, nil
	}
	if err != nil {
		return nil, err
	}
	f := &packed{s, wof.Layout{Method: m, Size: size, Stream: s.size}}
	if err := f.l.Check(); err != nil {
		return nil, s.corrupt("%v", err)
	}
	return f, nil
}

// Extents yields the whole file.
func (f *packed) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) { yield(tree.Extent{Len: f.l.Size}, nil) }
}

// ReadAt decompresses the chunks that p covers as a whole into it; of others the chunk
// is kept for the next read.
func (f *packed) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("%s: read at %d", f.s.what, off)
	}
	if off >= f.l.Size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.l.Size-off {
		p, end = p[:f.l.Size-off], io.EOF
	}
	for done < len(p) {
		chunk, in := (off+int64(done))/f.l.Method.Chunk(), (off+int64(done))%f.l.Method.Chunk()
		part := p[done:]
		var n int
		if in == 0 && int64(len(part)) >= f.l.Length(chunk) {
			n, err = f.chunks(part, chunk)
		} else {
			var b []byte
			b, err = f.keptChunk(chunk)
			n = copy(part, b[min(in, int64(len(b))):])
		}
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, end
}

// keptChunk returns one chunk from memory.
func (f *packed) keptChunk(chunk int64) ([]byte, error) {
	key := unitKey{runsKey{f.s.n.number, f.s.head.first, f.s.head.id}, chunk}
	if b, ok := f.s.v.units.Get(key); ok {
		return b, nil
	}
	b := make([]byte, f.l.Length(chunk))
	if _, err := f.chunks(b, chunk); err != nil {
		return nil, err
	}
	f.s.v.units.Put(key, b, int64(len(b)))
	return b, nil
}

// chunks decompresses whole chunks from one on into p, some at least, and returns how
// many bytes they are.
func (f *packed) chunks(p []byte, chunk int64) (done int, err error) {
	table, first, err := f.table(chunk)
	if err != nil {
		return 0, err
	}
	var ends []int64 // of the chunks that are read at once
	from, to, err := f.l.Place(table, first, chunk)
	if err != nil {
		return 0, f.s.corrupt("%v", err)
	}
	for held := int64(0); err == nil; {
		ends = append(ends, to)
		next := chunk + int64(len(ends))
		if held += f.l.Length(next - 1); next == min(first+tablePiece, f.l.Chunks()) || held+f.l.Length(next) > int64(len(p)) {
			break
		}
		var begin int64
		if begin, to, err = f.l.Place(table, first, next); begin != ends[len(ends)-1] || to-from > packedPart {
			break // an error is met again when its turn comes
		}
	}
	b := make([]byte, ends[len(ends)-1]-from)
	if _, err := f.s.ReadAt(b, from); err != nil && err != io.EOF {
		return 0, err
	}
	for i, end := range ends {
		out := p[done:][:f.l.Length(chunk+int64(i))]
		if err := f.l.Method.Decode(out, b[:end-from]); err != nil {
			return done, fmt.Errorf("from byte %d on: %w", (chunk+int64(i))*f.l.Method.Chunk(), f.s.corrupt("%v", err))
		}
		b, from = b[end-from:], end
		done += len(out)
	}
	return done, nil
}

// table returns the piece of the table that tells where a chunk lies, and the first
// chunk that it is for.
func (f *packed) table(chunk int64) (b []byte, first int64, err error) {
	first = chunk / tablePiece * tablePiece
	off, size := f.l.Table(first, tablePiece)
	key := unitKey{runsKey{f.s.n.number, f.s.head.first, f.s.head.id}, -1 - first}
	if b, ok := f.s.v.units.Get(key); ok {
		return b, first, nil
	}
	b = make([]byte, size)
	if _, err := f.s.ReadAt(b, off); err != nil && err != io.EOF {
		return nil, 0, err
	}
	f.s.v.units.Put(key, b, size)
	return b, first, nil
}
