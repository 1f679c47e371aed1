package restore

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Disk is what a restore reads: one disk of a point, which never changes.
// [blockstore.Disk] is one. Its methods are called by many goroutines at once.
type Disk interface {
	Info() blockstore.DiskInfo

	// Size is in bytes.
	Size() int64

	// BlockSize is the unit, in bytes, in which damage is told apart: a power of
	// two, at most 1 MiB.
	BlockSize() int

	// ReadAt returns verified bytes or, where they cannot be had, an error that
	// is a [*blockstore.CorruptError].
	io.ReaderAt

	// Extents calls fn for the runs of data and zeros in [off, off+length), in
	// order and without gaps.
	Extents(ctx context.Context, off, length int64, fn func(blockstore.Extent) error) error
}

// CostlyDisk is a Disk of which each reading costs much, however short it is: one that
// another process reads, say. It is read in large pieces.
type CostlyDisk interface {
	Disk
	CostlyToRead() // does nothing
}

var _ Disk = (*blockstore.Disk)(nil)

// Kind says what a target is.
type Kind uint8

// The kinds of targets.
const (
	Raw    Kind = iota // a file that holds the disk's bytes; zeros are holes
	Qcow2              // a qcow2 file, version 3
	Device             // a block device
	Stream             // an io.Writer that gets the disk's bytes in order
	NBD                // an export of an NBD server, named by its URI
)

func (k Kind) String() string {
	switch k {
	case Raw:
		return "raw"
	case Qcow2:
		return "qcow2"
	case Device:
		return "device"
	case Stream:
		return "stream"
	case NBD:
		return "nbd"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// KindOf is the kind of file for a disk: format is what was asked for, raw or
// qcow2, or empty for that of the source the disk was backed up from.
func KindOf(info blockstore.DiskInfo, format string) (Kind, error) {
	switch format {
	case "raw":
		return Raw, nil
	case "qcow2":
		return Qcow2, nil
	case "":
		if info.Format == "qcow2" {
			return Qcow2, nil
		}
		return Raw, nil
	}
	return 0, fmt.Errorf("format %q is not known: use raw or qcow2", format)
}

// Spec names the target of one disk.
type Spec struct {
	Kind   Kind
	Path   string    // of a file or device, or a URI; for a Stream what to call it in messages
	Writer io.Writer // of a Stream

	show string // what to call it in messages and results instead of Path
}

func (s Spec) name() string {
	switch {
	case s.show != "":
		return s.show
	case s.Kind == Stream && s.Path == "":
		return "standard output"
	}
	return s.Path
}

// Job is one disk and where it goes.
type Job struct {
	Disk   Disk
	Target Spec
}

// Owner is the user and group that a restored file is given; -1 leaves one as
// it is.
type Owner struct{ UID, GID int }

// Options of a restore. The zero value works.
type Options struct {
	Force       bool        // replace files that exist, overwrite exports that hold something
	Verify      bool        // read back what was written and compare it with the point
	SkipDamaged bool        // put zeros where the point cannot be read, and go on
	Mode        os.FileMode // permissions of files; 0: 0600
	Owner       *Owner      // nil: whoever runs the restore
	Rate        int64       // bytes of the point that are read a second, at most; 0: no limit
	Workers     int         // 0: one per processor and one more
	VaultPath   string      // the vault read from; a device that it lies on is refused

	// Progress is told how many of the total bytes of work are done, which
	// includes those read back. It is called by one goroutine at a time, at least
	// once per MiB of work, and must be quick. It may be nil.
	Progress func(done, total int64)
}
