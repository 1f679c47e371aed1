package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

// Image is an open image: the source of a backup. All methods may be called
// at once.
type Image struct {
	spec   Spec
	layers []layer // never empty; the image itself first, then its backing files
	opened time.Time
	size   int64
	server *server // reads a qcow2 image; nil for others
	doubt  string  // why spec.Bitmap is not used; "": it is, or none was asked for
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
	for _, l := range i.layers {
		if err := l.settle(); err != nil {
			return err
		}
	}
	if i.layers[0].format == formatRaw {
		i.doubt = "a raw image keeps no bitmaps"
		i.size = i.layers[0].seen.size
		return nil
	}
	how := service{held: i.spec.held}
	if i.doubt = i.doubted(); i.doubt == "" {
		how.bitmap = i.spec.Bitmap
	}
	if i.server, err = serveAs(ctx, i.layers, how); err != nil {
		return fmt.Errorf("open image %s: %w", i.spec.Path, err)
	}
	i.size = i.server.client.Size()
	return nil
}

// doubted says why the bitmap that was asked for is not to be believed.
func (i *Image) doubted() string {
	switch {
	case i.spec.Bitmap == "":
		return ""
	case i.InUse():
		return "the image is in use"
	case len(i.layers) > 1: // nothing tells what became of the others
		return "the image has backing files"
	}
	return doubt(i.layers[0].f, i.spec.Bitmap)
}

// Doubt says why the bitmap of the Spec is not used; "": it is, where one was asked for.
func (i *Image) Doubt() string {
	if i.spec.Bitmap == "" {
		return ""
	}
	return i.doubt
}

// claims is checkUse with what is done only once.
func (i *Image) claims() error {
	if err := i.checkUse(false); err != nil || i.spec.held {
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
