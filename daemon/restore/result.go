package restore

import (
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Result is what a restore did.
type Result struct {
	Disks  []DiskResult // in the order of the jobs
	Config []string     // paths of the configuration files that Folder wrote

	InPlace bool               // the disks were written over what was there
	Before  blockstore.PointID // what was there; empty: no point
}

// DiskResult is what became of one disk.
type DiskResult struct {
	Disk   blockstore.DiskInfo
	Target string
	Kind   Kind
	Done   bool // whole, synced and under its name

	Data     int64 // bytes that came from the point, blocks of zeros apart
	Verified bool  // read back and found equal
	Rounded  int64 // bytes of zeros added to a qcow2's virtual size to make whole sectors
	Tail     int64 // bytes of a device or export behind the disk's end, left as they were

	// Damaged are the ranges that could not be read from the point and are zeros
	// now; ascending, merged.
	Damaged []Range

	// Uncompared are ranges that were whole when they were written, and could not be
	// read from the point again when they were to be verified.
	Uncompared []Range

	// Notes are what a person should know besides, one sentence each.
	Notes []string
}

// Range is a part of a disk, in bytes.
type Range struct {
	Offset, Length int64
	Cause          error // why the first part of a damaged range could not be read
}

func (r Range) end() int64 { return r.Offset + r.Length }

// MismatchError reports a target that does not hold what was written to it.
type MismatchError struct {
	Disk, Target string
	Offset       int64  // of the first difference found, in the disk; -1 when What is not at one place in it
	What         string // what differs, where it is not the disk's bytes
}

func (e *MismatchError) Error() string {
	what := e.What
	if what == "" {
		what = fmt.Sprintf("its bytes at offset %d are not those of the point", e.Offset)
	}
	return fmt.Sprintf("verify disk %s in %s: %s: the storage under it does not keep what it is given", e.Disk, e.Target, what)
}
