package blockstore

import (
	"context"
	"fmt"
	"io"
)

// ExtentKind says what is known about a range of a disk before it is read.
type ExtentKind uint8

// The kinds of extents.
const (
	Data ExtentKind = iota // to be read; it may still turn out to be zero
	Zero                   // reads as zeros
	Same                   // holds what the parent point's disk holds at the same place
)

func (k ExtentKind) String() string {
	switch k {
	case Data:
		return "data"
	case Zero:
		return "zero"
	case Same:
		return "same"
	}
	return fmt.Sprintf("extent kind %d", uint8(k))
}

// Extent is a range of a disk, in bytes.
type Extent struct {
	Offset, Length int64
	Kind           ExtentKind
}

// End is the offset of the first byte after the extent.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Source yields one disk of a snapshot. ReadAt is called by many goroutines at
// once, for ranges within extents of kind Data, and of kind Same where the
// vault's copy of the parent is damaged. Whoever opened the source closes
// it, after the backup that reads it has returned; closing it makes calls in
// progress fail.
type Source interface {
	io.ReaderAt

	// Size is the disk's size in bytes, which does not change.
	Size() int64

	// Extents calls fn for every extent of the disk, in ascending order,
	// without gaps or overlaps. It stops at the first error, its own, fn's or
	// that of ctx, and returns it. Extents need not be aligned to anything.
	Extents(ctx context.Context, fn func(Extent) error) error
}
