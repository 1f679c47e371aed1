package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// ExportOptions name an NBD export.
type ExportOptions struct {
	Socket      string        // path
	Export      string        // its name
	Bitmap      string        // what it marks is data, all else is the same as in the parent; empty: no bitmap
	Size        int64         // of the disk, in bytes; 0: the export's
	Connections int           // at most, where the server allows several; 0: a few
	Stall       time.Duration // how long the server may make no progress; 0: nbd's default
}

// Export reads an NBD export as a source of a backup. All methods may be called at once.
type Export struct{}

// OpenExport connects to an NBD export.
func OpenExport(ctx context.Context, o ExportOptions) (*Export, error) {
	return nil, errors.New("not built yet")
}

// Size is the disk's size in bytes.
func (e *Export) Size() int64 { return 0 }

// ReadAt is io.ReaderAt.
func (e *Export) ReadAt(p []byte, off int64) (int, error) { return 0, nil }

// Extents calls fn for the disk's runs, as blockstore.Source says.
func (e *Export) Extents(ctx context.Context, fn func(blockstore.Extent) error) error { return nil }

// Close ends the connections. Calls in progress fail.
func (e *Export) Close() error { return nil }
