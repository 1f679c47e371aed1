package history

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// pieceSize is that of the vault's blocks.
const pieceSize = 16 << 10

// zeros are a piece of them.
var zeros = make([]byte, pieceSize)

// image is what a disk holds: pieces by their numbers, those of zeros left out. Most of a test's disk is
// empty, and reading and copying that would be most of the test.
type image struct {
	size   int64
	pieces map[int64][]byte
}

// readImage reads those parts of a file that are no holes.
func readImage(t testing.TB, path string) *image {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m := &image{size: st.Size(), pieces: map[int64][]byte{}}
	for at := int64(0); at < m.size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // nothing but a hole
		}
		if err != nil {
			t.Fatal(err)
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		for at = from / pieceSize * pieceSize; at < to; at += pieceSize {
			b := make([]byte, min(pieceSize, m.size-at))
			if _, err := f.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			m.put(at/pieceSize, b)
		}
	}
	return m
}

func (m *image) put(n int64, b []byte) {
	if bytes.Equal(b, zeros[:len(b)]) {
		delete(m.pieces, n)
		return
	}
	m.pieces[n] = b
}

// cleared is a copy in which a part is zeros.
func (m *image) cleared(from, to int64) *image {
	c := &image{m.size, maps.Clone(m.pieces)}
	for n := from / pieceSize; n*pieceSize < to; n++ {
		b := bytes.Clone(m.piece(n))
		clear(b[max(from-n*pieceSize, 0):min(to-n*pieceSize, int64(len(b)))])
		c.put(n, b)
	}
	return c
}

// piece is one, zeros or not.
func (m *image) piece(n int64) []byte {
	if b := m.pieces[n]; b != nil {
		return b
	}
	return zeros[:min(pieceSize, m.size-n*pieceSize)]
}

func (m *image) equal(o *image) bool {
	return m.size == o.size && maps.EqualFunc(m.pieces, o.pieces, bytes.Equal)
}

// writeTo writes it as a file.
func (m *image) writeTo(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(m.size); err != nil {
		t.Fatal(err)
	}
	for n, b := range m.pieces {
		if _, err := f.WriteAt(b, n*pieceSize); err != nil {
			t.Fatal(err)
		}
	}
}

// changed is a disk that says what of it is as in the point before.
type changed struct {
	*image
	before *image // nil: none
}

func (c *changed) Size() int64 { return c.size }

func (c *changed) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		if at >= c.size {
			return done, io.EOF
		}
		done += copy(p[done:], c.piece(at / pieceSize)[at%pieceSize:])
	}
	return done, nil
}

func (c *changed) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	for n := int64(0); n*pieceSize < c.size; n++ {
		b := c.pieces[n]
		e := blockstore.Extent{Offset: n * pieceSize, Length: int64(len(c.piece(n)))}
		switch {
		case c.before != nil && c.before.size == c.size && bytes.Equal(b, c.before.pieces[n]):
			e.Kind = blockstore.Same
		case b == nil:
			e.Kind = blockstore.Zero
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}
