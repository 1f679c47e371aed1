package fusefs

import (
	"context"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Vault is what a mount reads. Methods other than Info are called
// concurrently.
type Vault interface {
	// Info is asked once.
	Info() blockstore.VaultInfo

	// Points returns every point to show. It is called every
	// [Options.Refresh]; points returned beside an error are shown, and those
	// that were known before stay.
	Points(ctx context.Context) ([]*blockstore.Point, error)

	// OpenDisk is called when a disk is first opened, never to list or stat it.
	// The disk is used until the kernel forgets the file.
	OpenDisk(p *blockstore.Point, disk string) (Disk, error)

	// ReadConfig returns one file of a point's configuration.
	ReadConfig(ctx context.Context, p *blockstore.Point, name string) ([]byte, error)
}

// Disk is one disk of a point: immutable, with nothing to close.
type Disk interface {
	// ReadAt fills p with verified bytes, or says what is wrong: a
	// *blockstore.CorruptError where content is damaged; an error with a method Passing() bool that is true
	// where it may be had later.
	io.ReaderAt

	// Size is in bytes.
	Size() int64

	// Extents calls fn for the runs of data and zeros in [off, off+length), in
	// order, without gaps, until fn returns an error, which it returns.
	Extents(ctx context.Context, off, length int64, fn func(blockstore.Extent) error) error
}

// FromVault makes a vault of blocks mountable.
func FromVault(v *blockstore.Vault) Vault { return blockVault{v} }

// blockVault is a *blockstore.Vault whose OpenDisk returns the interface.
type blockVault struct{ *blockstore.Vault }

func (v blockVault) OpenDisk(p *blockstore.Point, disk string) (Disk, error) {
	d, err := v.Vault.OpenDisk(p, disk)
	if err != nil {
		return nil, err // a nil *blockstore.Disk must not become a Disk
	}
	return d, nil
}
