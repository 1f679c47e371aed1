package wof

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Layout tells where the chunks of a file lie in its compressed stream: first a table
// with where each chunk but the first begins, counted from the table's end, in 4 bytes
// each, or 8 in files of 4 GiB and more; then the chunks.
type Layout struct {
	Method Method
	Size   int64 // of the file, bytes
	Stream int64 // of the compressed stream, bytes
}

// Chunks is how many there are.
func (l Layout) Chunks() int64 {
	chunk := l.Method.Chunk()
	n := l.Size / chunk
	if l.Size%chunk != 0 {
		n++
	}
	return n
}

func (l Layout) entry() int64 {
	if l.Size > math.MaxUint32 {
		return 8
	}
	return 4
}

func (l Layout) table() int64 { return max(l.Chunks()-1, 0) * l.entry() }

// Check says what keeps the sizes from being true, or nil.
func (l Layout) Check() error {
	if l.Size < 0 || l.Stream < 0 || l.Method.Chunk() == 0 {
		return fmt.Errorf("%d bytes of %s in %d", l.Size, l.Method, l.Stream)
	}
	if table := l.table(); table > l.Stream || l.Chunks() > l.Stream-table {
		return fmt.Errorf("%d bytes of %s have %d chunks, which do not fit into %d bytes", l.Size, l.Method, l.Chunks(), l.Stream)
	}
	return nil
}

// Table returns which bytes of the stream tell where n chunks from first on lie: what
// [Layout.Place] wants.
func (l Layout) Table(first, n int64) (off, size int64) {
	from, to := max(first-1, 0), min(first+n, l.Chunks()-1)
	return from * l.entry(), max(to-from, 0) * l.entry()
}

// Place returns from where to where a chunk lies in the stream. b is the table from the
// chunk first on, and holds this one.
func (l Layout) Place(b []byte, first, chunk int64) (from, to int64, err error) {
	if from, err = l.begin(b, first, chunk); err != nil {
		return 0, 0, err
	}
	if to, err = l.begin(b, first, chunk+1); err != nil {
		return 0, 0, err
	}
	if n, most := to-from, l.Length(chunk); n <= 0 || n > most {
		return 0, 0, fmt.Errorf("chunk %d has %d bytes, of %d uncompressed", chunk, n, most)
	}
	return from, to, nil
}

// begin is where a chunk begins, or the last one ends.
func (l Layout) begin(b []byte, first, chunk int64) (int64, error) {
	switch chunk {
	case 0:
		return l.table(), nil
	case l.Chunks():
		return l.Stream, nil
	}
	at := (chunk - max(first, 1)) * l.entry()
	if at < 0 || at+l.entry() > int64(len(b)) {
		return 0, fmt.Errorf("%d bytes of the table from chunk %d on do not tell of chunk %d", len(b), first, chunk)
	}
	v := uint64(0)
	if b = b[at:]; l.entry() == 8 {
		v = binary.LittleEndian.Uint64(b)
	} else {
		v = uint64(binary.LittleEndian.Uint32(b))
	}
	if v > uint64(l.Stream-l.table()) {
		return 0, fmt.Errorf("chunk %d begins at %d of %d", chunk, v, l.Stream-l.table())
	}
	return l.table() + int64(v), nil
}

// Length is how many bytes a chunk holds.
func (l Layout) Length(chunk int64) int64 {
	return min(l.Method.Chunk(), l.Size-chunk*l.Method.Chunk())
}
