package segment

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/blockstore/content"
)

// chunkEntries are read at once: not quite a page of 4 KiB.
const chunkEntries = 4096 / EntrySize

// maxCopy is how much of a segment is copied into memory at most, in bytes:
// all but its entries.
const maxCopy = 1 << 30

// OpenFile opens a segment of size bytes that is read as it is needed and never
// mapped: on a file system that may stop to answer, a goroutine that waits for a page of
// mapped memory stops the whole process, one that waits for a read does not.
// The rest is as with [Open]. F is used as long as the Table is.
func OpenFile(f io.ReaderAt, size int64, name string, keys *content.Keys) (*Table, error) {
	if size < headerSize+trailerSize {
		return nil, fmt.Errorf("open segment %s: %w", name, damaged("%d bytes are too few", size))
	}
	t := &Table{Name: name, bytes: size, file: &fileEntries{f: f, name: name}}
	if err := t.parse(keys, t.file.part); err != nil {
		return nil, fmt.Errorf("open segment %s: %w", name, err)
	}
	return t, nil
}

// fileEntries reads entries from a file.
type fileEntries struct {
	f    io.ReaderAt
	name string
	last atomic.Pointer[chunk] // that was read last: a run of entries costs one read for each chunk
}

// chunk is a run of entries. It is not changed.
type chunk struct {
	first int64 // index
	b     []byte
}

// readError is what a read that failed panics with, for guard.
type readError struct{ err error }

// part reads some bytes, or panics with a readError.
func (f *fileEntries) part(off, n int64) []byte {
	if n > maxCopy {
		panic(readError{damaged("%d bytes besides its entries are too many", n)})
	}
	b := make([]byte, n)
	if k, err := f.f.ReadAt(b, off); int64(k) < n {
		if errors.Is(err, io.EOF) {
			panic(readError{damaged("it ends early")})
		}
		panic(readError{fmt.Errorf("read segment %s: %w", f.name, err)})
	}
	return b
}

// chunk returns the chunk with entry i of count.
func (f *fileEntries) chunk(i, count int64) *chunk {
	c, first := f.last.Load(), i-i%chunkEntries
	if c == nil || c.first != first {
		c = &chunk{first, f.part(headerSize+first*EntrySize, min(chunkEntries, count-first)*EntrySize)}
		f.last.Store(c)
	}
	return c
}

func (f *fileEntries) entry(i, count int64) []byte {
	c := f.chunk(i, count)
	at := (i - c.first) * EntrySize
	return c.b[at : at+EntrySize]
}
