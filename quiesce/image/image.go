package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/nbd"
)

// Image is an open image: the source of a backup. All methods may be called
// at once.
type Image struct {
	spec   Spec
	layers []layer // never empty; the image itself first, then its backing files
	opened time.Time
	size   int64
	server *server // reads a qcow2 image; nil for others
	inUse  atomic.Bool
}

// Open opens an image for reading. Where it is qcow2 a child process reads it, which ends with
// Close or with ctx. Errors: *InUseError.
func Open(ctx context.Context, s Spec) (*Image, error) {
	if err := checkFormat(s.Format); err != nil {
		return nil, fmt.Errorf("open image %s: %w", s.Path, err)
	}
	opened := time.Now()
	layers, err := openChain(s)
	if err != nil {
		return nil, err
	}
	i := &Image{spec: s, layers: layers, opened: opened}
	if err := i.begin(ctx); err != nil {
		i.Close()
		return nil, err
	}
	return i, nil
}

// begin makes sure that nobody uses the image, and gets ready to read it.
func (i *Image) begin(ctx context.Context) (err error) {
	if err := i.claims(); err != nil {
		if !i.spec.AllowInUse {
			return err
		}
		i.inUse.Store(true)
	}
	if i.layers[0].format == formatRaw {
		i.size, err = i.layers[0].length()
		return err
	}
	if i.server, err = serve(ctx, i.layers); err != nil {
		return fmt.Errorf("open image %s: %w", i.spec.Path, err)
	}
	i.size = i.server.client.Size()
	return nil
}

// claims is checkUse with what is done only once.
func (i *Image) claims() error {
	if err := i.checkUse(false); err != nil {
		return err
	}
	for _, l := range i.layers {
		if !l.block {
			continue
		}
		users, err := claimed(l.handle())
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return &InUseError{Path: l.path, Users: users}
		}
	}
	return nil
}

// length is the present size in bytes of a file or block device.
func (f *file) length() (int64, error) {
	if f.block {
		return DeviceSize(f.f)
	}
	now, err := f.stamp()
	return now.size, err
}

// Close lets go of the image. Calls in progress fail.
func (i *Image) Close() error {
	var err error
	if i.server != nil {
		err = i.server.close()
	}
	closeAll(i.layers)
	return err
}

// Size is the size in bytes of the disk that the image holds.
func (i *Image) Size() int64 { return i.size }

// Format is raw, qcow2, or block for a block device that is read as it is.
func (i *Image) Format() string {
	if i.layers[0].block && i.layers[0].format == formatRaw {
		return formatBlock
	}
	return i.layers[0].format
}

// SectorSizes are those of the disk as its machine sees it unless it is told
// otherwise: a block device's own, else 512 and 512.
func (i *Image) SectorSizes() (logical, physical int) {
	if i.Format() == formatBlock {
		if l, p, err := SectorSizes(i.layers[0].f); err == nil {
			return l, p
		}
	}
	return 512, 512
}

// Identity is text that stays the same as long as nobody replaces or writes to any of
// the image's files. It is empty where nobody can tell: for block devices,
// images in use, and files written to a moment ago.
func (i *Image) Identity() string {
	if i.InUse() {
		return ""
	}
	parts := []string{i.Format()}
	for _, l := range i.layers {
		id := l.identity(i.opened)
		if id == "" {
			return ""
		}
		parts = append(parts, id)
	}
	return strings.Join(parts, " ")
}

// ReadAt is io.ReaderAt. An image that has become shorter is an error.
func (i *Image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > i.size {
		return 0, fmt.Errorf("read image %s at %d: outside its %d bytes", i.spec.Path, off, i.size)
	}
	want := p[:min(int64(len(p)), i.size-off)]
	n, err := i.read(want, off)
	if err != nil && (n < len(want) || err != io.EOF) {
		if err == io.EOF {
			err = errors.New("the file has become shorter")
		}
		return n, fmt.Errorf("read image %s at %d: %w", i.spec.Path, off+int64(n), err)
	}
	if len(want) < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (i *Image) read(p []byte, off int64) (int, error) {
	if i.server == nil {
		return i.layers[0].f.ReadAt(p, off)
	}
	n, err := i.server.client.ReadAt(p, off)
	return n, i.server.explain(err)
}

// Extents calls fn for the disk's runs of data and zeros, as blockstore.Source says.
func (i *Image) Extents(ctx context.Context, fn func(blockstore.Extent) error) error {
	m := &merger{fn: fn}
	var err error
	switch {
	case i.server != nil:
		err = i.allocated(ctx, m)
	case i.layers[0].block:
		err = m.add(ctx, i.size, blockstore.Data)
	default:
		err = i.holes(ctx, m)
	}
	if err == nil {
		err = m.flush()
	}
	return err
}

// merger joins neighbours of one kind and keeps count of where they begin.
type merger struct {
	next blockstore.Extent
	fn   func(blockstore.Extent) error
}

// add appends a run that ends at end.
func (m *merger) add(ctx context.Context, end int64, kind blockstore.ExtentKind) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if m.next.Kind != kind {
		if err := m.flush(); err != nil {
			return err
		}
		m.next = blockstore.Extent{Offset: m.next.End(), Kind: kind}
	}
	m.next.Length = end - m.next.Offset
	return nil
}

func (m *merger) flush() error {
	if m.next.Length == 0 {
		return nil
	}
	return m.fn(m.next)
}

// holes finds the holes of a raw file; a file system that knows of none has none.
func (i *Image) holes(ctx context.Context, m *merger) error {
	f := i.layers[0]
	for at := int64(0); at < i.size; {
		data, err := f.seek(at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // no data up to the end, wherever that is now
			if size, err := f.length(); err != nil || size < i.size {
				return errors.Join(&ChangedError{Path: f.path, What: "it has become shorter"}, err)
			}
			return m.add(ctx, i.size, blockstore.Zero)
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
			return m.add(ctx, i.size, blockstore.Data)
		case err != nil:
			return err
		}
		if data = min(data, i.size); data > at {
			if err := m.add(ctx, data, blockstore.Zero); err != nil {
				return err
			}
		}
		if at = data; at == i.size {
			return nil
		}
		if at, err = f.seek(at, unix.SEEK_HOLE); err != nil {
			return err
		}
		at = min(at, i.size)
		if err := m.add(ctx, at, blockstore.Data); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) seek(at int64, whence int) (off int64, err error) {
	err = control(f.f, func(fd int) error {
		off, err = unix.Seek(fd, at, whence)
		return err
	})
	if err == nil && off < at {
		err = unix.EIO
	}
	if err != nil {
		return 0, fmt.Errorf("find holes of image %s at %d: %w", f.path, at, err)
	}
	return off, nil
}

// statusStep is how much of a disk is asked about at once.
const statusStep = 1 << 30

// allocated asks the server which ranges read as zeros.
func (i *Image) allocated(ctx context.Context, m *merger) error {
	for at := int64(0); at < i.size; {
		status, err := i.server.client.BlockStatus(ctx, at, min(statusStep, i.size-at))
		if err != nil {
			return fmt.Errorf("extents of image %s: %w", i.spec.Path, i.server.explain(err))
		}
		for _, e := range status[nbd.BaseAllocation] {
			kind := blockstore.Data
			if e.Flags&nbd.ZeroBytes != 0 {
				kind = blockstore.Zero
			}
			at = e.Offset + e.Length
			if err := m.add(ctx, at, kind); err != nil {
				return err
			}
		}
	}
	return nil
}
