package history

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// maxPieces bounds what is remembered of where a file lies.
const maxPieces = 1 << 16

const readSize = 1 << 20

// content is that of a regular file at one point.
type content struct {
	look *look
	file tree.File
	size int64

	pieces []piece // where it lies; nothing of it elsewhere
	placed bool    // pieces are all that there is to know
}

// piece is a part of a content by the parts of the disks that it is made of.
type piece struct {
	off, len int64
	spans    []guestfs.Span
}

// contentOf opens a regular file, and finds out where it lies as far as that can be
// told. It reads metadata only.
func contentOf(l *look, at guestfs.Place) (*content, error) {
	f, size, err := at.Open()
	if err != nil {
		return nil, err
	}
	c := &content{look: l, file: f, size: size}
	c.pieces, c.placed = place(at.Volume, f)
	return c, nil
}

func place(v *guestfs.Volume, f tree.File) ([]piece, bool) {
	placed, ok := f.(tree.Placed)
	if !ok {
		return nil, false
	}
	var list []piece
	spans := 0
	for p, err := range placed.Places() {
		if err != nil || p.At < 0 || spans >= maxPieces {
			return nil, false // it is read, and the error met there
		}
		on, ok := v.Where(p.At, p.Len)
		if !ok {
			return nil, false
		}
		spans += len(on)
		list = append(list, piece{p.Off, p.Len, on})
	}
	return list, true
}

// note adds where the content lies to what the answers of its look follow from: they
// say that it is what it is, whether it was read or not.
func (c *content) note() error {
	for _, p := range c.pieces {
		for _, s := range p.spans {
			d, err := c.look.numbered(s.Disk)
			if err != nil {
				return err
			}
			d.seen.add(s.Off, s.Len)
		}
	}
	return nil
}

// alike tells whether two contents lie at the same places of their disks.
func (c *content) alike(d *content) bool {
	return c.placed && d.placed && c.size == d.size && slices.EqualFunc(c.pieces, d.pieces, func(a, b piece) bool {
		return a.off == b.off && a.len == b.len && slices.Equal(a.spans, b.spans)
	})
}

// equal compares two contents, and reads only what the maps do not prove to be the same.
func equal(ctx context.Context, a, b *content) (bool, error) {
	if a.size != b.size {
		return false, nil
	}
	if !a.alike(b) {
		return equalBytes(ctx, a, b, 0, a.size)
	}
	for _, p := range a.pieces {
		if same, err := equalPiece(ctx, a, b, p); !same || err != nil {
			return false, err
		}
	}
	return true, nil
}

// equalPiece compares a piece that lies at the same places in both.
func equalPiece(ctx context.Context, a, b *content, p piece) (bool, error) {
	plain := !slices.ContainsFunc(p.spans, func(s guestfs.Span) bool { return s.How != "" })
	off := p.off
	for _, s := range p.spans {
		x, err := a.look.numbered(s.Disk)
		if err != nil {
			return false, err
		}
		y, err := b.look.numbered(s.Disk)
		if err != nil {
			return false, err
		}
		if plain {
			c := comparison{ctx, a, b, x.Disk, y.Disk, off - s.Off}
			if same, err := c.span(s.Off, s.Len); !same || err != nil {
				return false, err
			}
			off += s.Len
			continue
		}
		// Its bytes are not those of the disk one by one.
		if same, err := blockstore.SameIn(ctx, x.Disk, y.Disk, s.Off, s.Len); err != nil {
			return false, err
		} else if !same {
			return equalBytes(ctx, a, b, p.off, p.len)
		}
	}
	return true, nil
}

// comparison is one of a part of two disks that is the same part of two files.
type comparison struct {
	ctx   context.Context
	a, b  *content
	x, y  *blockstore.Disk
	shift int64 // from an offset on the disk to one in the file
}

// span halves a part until what is left of it is the same by the maps, or a block to be read.
func (c *comparison) span(off, n int64) (bool, error) {
	same, err := blockstore.SameIn(c.ctx, c.x, c.y, off, n)
	if same || err != nil {
		return same, err
	}
	block := int64(c.x.BlockSize())
	if first, last := off/block, (off+n-1)/block; first < last {
		half := (first + (last-first+1)/2) * block
		if same, err := c.span(off, half-off); !same || err != nil {
			return false, err
		}
		return c.span(half, off+n-half)
	}
	return equalBytes(c.ctx, c.a, c.b, off+c.shift, n)
}

// equalBytes reads a part of both.
func equalBytes(ctx context.Context, a, b *content, off, n int64) (bool, error) {
	size := min(n, readSize)
	x, y := make([]byte, size), make([]byte, size)
	for end := off + n; off < end; off += size {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		size = min(size, end-off)
		if err := a.read(x[:size], off); err != nil {
			return false, err
		}
		if err := b.read(y[:size], off); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:size], y[:size]) {
			return false, nil
		}
	}
	return true, nil
}

func (c *content) read(p []byte, off int64) error {
	n, err := c.file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sum reads all of the content, as sha256sum does.
func (c *content) sum(ctx context.Context) (string, error) {
	h := sha256.New()
	b := make([]byte, min(c.size, readSize))
	for off := int64(0); off < c.size; off += int64(len(b)) {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		b = b[:min(int64(len(b)), c.size-off)]
		if err := c.read(b, off); err != nil {
			return "", err
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
