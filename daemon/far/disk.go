package far

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Disk is one disk of a point. It never changes, and there is nothing to close. It is safe for concurrent use.
type Disk struct {
	v     *Vault
	point *blockstore.Point
	info  blockstore.DiskInfo

	mu      sync.Mutex // guards what follows; never held while the daemon is asked
	block   int        // size of the vault's blocks; 0: not known
	maps    []mapped
	coming  map[int64]*coming // pieces that are on their way
	harmed  map[int64]bool    // pieces that cannot be read whole
	streams [mostStreams]stream
	turn    int // which stream is replaced next
}

var errMap = errors.New("the daemon's map of the disk leads nowhere")

// Info is the disk as the daemon tells of it.
func (d *Disk) Info() blockstore.DiskInfo { return d.info }

// Size is in bytes.
func (d *Disk) Size() int64 { return d.info.Size }

// BlockSize is that of the vault, in bytes, in which damage is told apart: as usual where the daemon
// does not tell.
func (d *Disk) BlockSize() int {
	d.mapAt(d.v.ctx, 0) // its error comes again, to who reads
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.block <= 0 {
		return blockstore.DefaultBlockSize
	}
	return d.block
}

// ReadAt reads as io.ReaderAt does.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read at offset %d", off)
	}
	if off >= d.info.Size {
		return 0, io.EOF
	}
	var end error
	if left := d.info.Size - off; int64(len(p)) > left {
		p, end = p[:left], io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	d.foresee(off, int64(len(p)))
	last := (off + int64(len(p)) - 1) / piece
	for n < len(p) {
		at := off + int64(n)
		data, err := d.piece(at/piece, last)
		if err != nil {
			return n, err
		}
		if data == nil { // part of it is damaged, and who reads may want another
			part := p[n:min(int64(len(p)), (at/piece+1)*piece-off)]
			if err := d.Direct(d.v.ctx, part, at); err != nil {
				return n, err
			}
			n += len(part)
			continue
		}
		n += copy(p[n:], data[at%piece:])
	}
	return n, end
}

// Direct fills p with the disk's bytes at off, past the cache; all of it is to lie within the disk.
func (d *Disk) Direct(ctx context.Context, p []byte, off int64) error {
	return d.receive(ctx, off, []part{{p, len(p)}}, func(int) {})
}

// part is what is received into; it is made when its bytes come, unless it is there.
type part struct {
	data   []byte // of that length; nil: not made yet
	length int
}

// fill copies to a part from its byte k on, and returns how much that took of b.
func (p *part) fill(k int, b []byte) int {
	b = b[:min(len(b), p.length-k)]
	if p.data == nil && len(b) == p.length {
		p.data = append([]byte(nil), b...) // not cleared first
		return len(b)
	}
	return copy(p.make()[k:], b)
}

func (p *part) make() []byte {
	if p.data == nil {
		p.data = make([]byte, p.length)
	}
	return p.data
}

// receive fills parts, which follow each other from off on, from the daemon, and calls full with the number of
// each as soon as it is. An error is of the first byte that is not there.
func (d *Disk) receive(ctx context.Context, off int64, parts []part, full func(i int)) error {
	left := 0
	for _, p := range parts {
		left += p.length
	}
	i, k := 0, 0 // the part that is being filled, and how much of it is
	for ; i < len(parts) && left >= smallest && d.v.stillAway() == nil; off, left = off+slotSize, left-slotSize {
		n := min(left, slotSize)
		if !d.byMemory(ctx, off, int64(n), func(b []byte) {
			for len(b) > 0 {
				took := parts[i].fill(k, b)
				if b, k = b[took:], k+took; k == parts[i].length {
					full(i)
					i, k = i+1, 0
				}
			}
		}) {
			break
		}
	}
	for i < len(parts) {
		err := d.v.ask(ctx, func() error {
			r, err := d.v.from.DiskContent(d.v.purposely(ctx), d.v.o.Vault, string(d.point.Machine), string(d.point.ID), d.info.Name, off, int64(left))
			if err != nil {
				return err
			}
			defer r.Close()
			for moved := false; i < len(parts); i, k = i+1, 0 {
				got, err := io.ReadFull(r, parts[i].make()[k:])
				k, off, left, moved = k+got, off+int64(got), left-got, moved || got > 0
				switch {
				case err == nil:
					full(i)
				case moved && ctx.Err() == nil:
					return nil // asked again from there on, the daemon says what is wrong
				default:
					return errors.Join(fmt.Errorf("%w: it broke off: %w", api.ErrUnreachable, err), ctx.Err())
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
