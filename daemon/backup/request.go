package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Request says what is backed up.
type Request struct {
	Machine string // name
	Disks   []Disk
	Tool    string // program and version, for the record
	From    string // who opened the images, and says where they lie; "": this process opens them

	// SkipUnchanged takes a disk over from the parent point unread when the
	// identity of its files has not changed since.
	SkipUnchanged bool

	Rate      int64 // bytes a second that are read at most; 0: no limit
	Depth     int   // reads of a disk that are under way at once; 0: one per processor
	WriteRate int64 // bytes a second that are added to the vault at most; 0: no limit

	// Progress is told how far the run has come, by many goroutines at once; it
	// must be quick. It may be nil.
	Progress func(Progress)

	// Of a protected machine that is off: the consistency asked for, if it is not "",
	// what else is known of a disk, and what is called once all disks are open.
	asked    blockstore.Consistency
	cleanOff bool // its guest is known to have shut itself down
	describe func(*blockstore.DiskInfo)
	before   func(context.Context, *blockstore.Backup) error

	// The source of a disk that was opened with a bitmap, and what to say of it; nil: the image
	// itself, and nothing. It is called after before. It may be nil.
	tracked func(d *openDisk) (blockstore.Source, *blockstore.DiskInfo)
}

// Disk is one disk and how to get at it.
type Disk struct {
	Name   string
	Source string // where it is read, for the record and for messages
	At     string // where it lies, where Source is only what somebody calls it; "": Source

	// AllowInUse says that Open accepts a disk that somebody writes to.
	AllowInUse bool

	// Open opens the disk for reading; whoever called it closes it.
	Open func(ctx context.Context) (Image, error)

	// OpenTracked is Open with a dirty bitmap that lies in the image: what that does not mark
	// is of kind Same. Doubt says why it is not used; "": it is. It is nil where there can be none.
	OpenTracked func(ctx context.Context, bitmap string) (i Image, doubt string, err error)

	// Holds tells whether path lies on the disk itself. It is called before Open. It
	// may be nil.
	Holds func(path string) (bool, error)
}

// Image is a disk that nobody is expected to write to while it is read.
type Image interface {
	blockstore.Source
	io.Closer

	// Format is raw, qcow2 or block.
	Format() string

	// SectorSizes are in bytes.
	SectorSizes() (logical, physical int)

	// Identity is equal to an earlier one only if nothing was written in between;
	// empty where that cannot be told.
	Identity() string

	// Watch returns an error within a second of somebody beginning to write to
	// the disk, unless that is allowed, and nil when ctx ends.
	Watch(ctx context.Context) error

	// Verify is called after the last byte was read. It returns an error if anything was
	// written since Open, or may have been, unless that is allowed.
	Verify() error

	// InUse tells whether somebody was seen to use the disk since Open, and that
	// is allowed.
	InUse() bool
}

// Progress is how far a run has come.
type Progress struct {
	Phase       string           // "" for images, which are read
	Disk        string           // that is being read
	Done, Total int64            // bytes of all disks
	Sizes       blockstore.Sizes // of all disks so far
}

// Result is a finished backup.
type Result struct {
	Point    *blockstore.Point
	Skipped  []string // names of disks that were taken over unread
	Warnings []string // what someone should look at
	Notes    []string // what someone may want to know
	Healed   int      // damaged pieces of the vault that were stored again
}

// Check refuses what cannot be backed up into the vault at path: names, images that are
// not there or not what they are said to be, and a vault on a disk that is to be
// backed up. Run does so first; a caller that has to wait for the vault does so before
// that.
func (r *Request) Check(vault string) error {
	if err := blockstore.CheckMachineName(r.Machine); err != nil {
		return err
	}
	if len(r.Disks) == 0 {
		return errors.New("no disk is named")
	}
	seen := map[string]bool{}
	for _, d := range r.Disks {
		if err := blockstore.CheckDiskName(d.Name); err != nil {
			return err
		}
		if seen[d.Name] {
			return fmt.Errorf("disk %s is named twice", d.Name)
		}
		seen[d.Name] = true
		if err := d.checkVault(vault); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name, err)
		}
	}
	return nil
}

func (d *Disk) checkVault(vault string) error {
	if d.Holds == nil {
		return nil
	}
	holds, err := d.Holds(vault)
	if holds && err == nil {
		err = fmt.Errorf("vault %s lies on %s itself: keep the vault on another disk", vault, d.Source)
	}
	return err
}
