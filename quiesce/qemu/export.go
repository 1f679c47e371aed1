package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// ExportOptions name an NBD export.
type ExportOptions struct {
	Socket      string        // path
	Export      string        // its name
	Bitmap      string        // what it marks is data, all else is the same as in the parent; empty: no bitmap
	Size        int64         // of the disk, in bytes; 0: the export's
	Connections int           // at most, where the server allows several; 0: a few
	Stall       time.Duration // how long the server may make no progress; 0: nbd.DefaultStall
}

const defaultConnections = 2

// bitmapContext is the name by which QEMU's server tells of a dirty bitmap.
func bitmapContext(name string) string { return "qemu:dirty-bitmap:" + name }

// ErrNoBitmap is wrapped by OpenExport where the export does not offer the bitmap.
var ErrNoBitmap = errors.New("the export does not offer the bitmap")

// Export reads a disk that QEMU exports, as a source of a backup. All methods may be
// called at once.
type Export struct {
	size    int64
	data    []io.ReaderAt // connections, or one file; all yield the same bytes
	next    atomic.Uint32 // counts reads, to take turns among data
	zeros   *teller       // which ranges read as zeros
	changes *teller       // which ranges the bitmap marks; nil: no bitmap
	small   int64         // ranges that it marks and that are no longer are read without asking zeros
	closers []io.Closer
	broken  *atomic.Pointer[error] // why nothing may be believed any more; nil where nobody would know
}

// OpenExport connects to an NBD export. ctx bounds that, not the export's life. Errors:
// ErrNoBitmap.
func OpenExport(ctx context.Context, o ExportOptions) (*Export, error) {
	e := &Export{size: o.Size, small: smallChange}
	if err := e.connect(ctx, o); err != nil {
		e.Close()
		return nil, fmt.Errorf("read nbd export %q on %s: %w", o.Export, o.Socket, err)
	}
	return e, nil
}

func (e *Export) connect(ctx context.Context, o ExportOptions) error {
	first, err := e.dial(ctx, o, nbd.BaseAllocation)
	if err != nil {
		return err
	}
	if e.size == 0 {
		e.size = first.Size()
	}
	e.data = append(e.data, first)
	e.zeros = newTeller(first, nbd.BaseAllocation)
	if o.Bitmap != "" {
		if err := e.connectBitmap(ctx, o); err != nil {
			return err
		}
	}
	if first.Flags()&nbd.FlagMultiConn == 0 {
		return nil
	}
	n := o.Connections
	if n == 0 {
		n = defaultConnections
	}
	for len(e.data) < n {
		more, err := e.dial(ctx, o)
		if err != nil {
			return err
		}
		e.data = append(e.data, more)
	}
	return nil
}

// connectBitmap uses a connection of its own, so that the server need not find out what
// is allocated where nothing changed.
func (e *Export) connectBitmap(ctx context.Context, o ExportOptions) error {
	name := bitmapContext(o.Bitmap)
	c, err := e.dial(ctx, o, name)
	if err != nil {
		return err
	}
	if !slices.Contains(c.Contexts(), name) {
		return fmt.Errorf("%w %s", ErrNoBitmap, o.Bitmap)
	}
	e.changes = newTeller(c, name)
	return nil
}

func (e *Export) dial(ctx context.Context, o ExportOptions, contexts ...string) (*nbd.Client, error) {
	c, err := nbd.Dial(ctx, o.Socket, nbd.Options{Export: o.Export, Contexts: contexts, Stall: o.Stall})
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, c)
	if e.size > c.Size() {
		return nil, fmt.Errorf("it has %d bytes, and the disk has %d", c.Size(), e.size)
	}
	return c, nil
}

// Size is the disk's size in bytes.
func (e *Export) Size() int64 { return e.size }

// ReadAt is io.ReaderAt.
func (e *Export) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > e.size {
		return 0, fmt.Errorf("read at %d: outside the disk's %d bytes", off, e.size)
	}
	want := p[:min(int64(len(p)), e.size-off)]
	n, err := e.data[int(e.next.Add(1)%uint32(len(e.data)))].ReadAt(want, off)
	if why := e.failed(); why != nil {
		return 0, why // whatever was read may be of another time
	}
	if n == len(want) && (err == nil || err == io.EOF) {
		err = nil
		if n < len(p) {
			err = io.EOF
		}
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (e *Export) failed() error {
	if e.broken == nil {
		return nil
	}
	if why := e.broken.Load(); why != nil {
		return *why
	}
	return nil
}

// Close ends the connections. Calls in progress fail.
func (e *Export) Close() error {
	var errs []error
	for _, c := range e.closers {
		errs = append(errs, c.Close())
	}
	e.closers = nil
	return errors.Join(errs...)
}
