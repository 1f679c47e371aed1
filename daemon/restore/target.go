package restore

import "io"

// Target is where a disk goes. WriteAt and Zero are called by many goroutines at
// once, for ranges that do not overlap; the other methods by one, in the order
// Sync, then Commit or Abort.
type Target interface {
	// WriteAt stores bytes of the disk at their offset in it.
	io.WriterAt

	// Zero makes a range read as zeros. It is called only where Blank is false.
	Zero(off, length int64) error

	// Blank tells whether all of the target reads as zeros to begin with.
	Blank() bool

	// Sync makes all that was written durable.
	Sync() error

	// Commit makes the target appear as what was asked for. After an error nothing
	// appeared, unless the error says so.
	Commit() error

	// Abort undoes what can be undone and frees what the target holds. After Commit
	// it does nothing.
	Abort() error
}

// readBack is a Target that can be verified.
type readBack interface {
	Target

	// BeginVerify is called once, after Sync. It makes reads come from storage rather
	// than memory where it can, and proves what the target keeps beside the disk's bytes.
	BeginVerify() error

	// ReadAt reads bytes of the disk.
	io.ReaderAt

	// Hole is the number of bytes from off on, at most length, that are known to be
	// zeros without reading them.
	Hole(off, length int64) int64
}

// A stream is no Target: it takes the disk's bytes in order alone.
var (
	_ readBack = (*rawFile)(nil)
	_ readBack = (*qcow2File)(nil)
	_ readBack = (*device)(nil)
)
