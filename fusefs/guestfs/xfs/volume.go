package xfs

import (
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// volume is an open XFS. Nothing of it changes after open but the cache, which
// guards itself: it may be used from several goroutines.
type volume struct {
	super
	size    int64       // bytes of the volume
	r       io.ReaderAt // the volume, or what lies over it
	over    *overlay    // what the log changed, nil where nothing was replayed
	cache   *cache
	info    tree.Info
	promise map[uint64]*promised // inodes whose maps the log promised to change
}

// readAt fills p from a place of the volume. A volume that ends before is damage,
// never the end of a file.
func (v *volume) readAt(p []byte, at int64) error {
	n, err := v.r.ReadAt(p, at)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return tree.Short(at, int64(len(p)))
	}
	return fmt.Errorf("read %d bytes at %d of the volume: %w", len(p), at, err)
}

// meta returns n bytes of metadata. They come from the cache where they lie in
// one chunk, which they do unless blocks are larger than chunks.
func (v *volume) meta(at int64, n int) (piece, error) {
	p := piece{at: at, replayed: v.over.touches(at, int64(n))}
	first := at / chunkSize * chunkSize
	if at+int64(n) <= first+chunkSize && first+chunkSize <= v.size {
		b := v.cache.get(first)
		if b == nil {
			b = make([]byte, chunkSize)
			if err := v.readAt(b, first); err != nil {
				b = nil // what is damaged may lie beside what was asked for
			} else {
				v.cache.put(first, b)
			}
		}
		if b != nil {
			p.b = b[at-first:][:n:n]
			return p, nil
		}
	}
	p.b = make([]byte, n)
	return p, v.readAt(p.b, at)
}

// Info implements tree.FileSystem.
func (v *volume) Info() tree.Info {
	i := v.info
	i.Notes = append([]string(nil), i.Notes...)
	return i
}

// Root implements tree.FileSystem.
func (v *volume) Root() uint64 { return v.root }
