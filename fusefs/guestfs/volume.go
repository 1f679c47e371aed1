package guestfs

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/lvm"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/mdraid"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/part"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Volume is a partition, a disk without partitions, an array, the content of an encrypted
// volume, or a logical volume.
type Volume struct {
	Name string // vda1, vda, vg0-root
	Size int64  // bytes

	Disk      string          // that it lies on; "" of a logical volume
	Partition *part.Partition // nil of others
	Scheme    part.Scheme     // of the table that the partition is in

	Group, Logical string // of a logical volume

	On []string // names of the volumes that it lies on; nil of disks and partitions

	g     *Guest
	r     io.ReaderAt
	err   error         // why its bytes cannot be reached
	pv    *lvm.PV       // of a physical volume
	md    *mdraid.Super // of a member of an array
	array string        // which that is; "" while it is not known
	crypt *crypt        // of an encrypted volume
	layer int           // how many volumes it lies in
	notes []string

	asked atomic.Int64 // when, by the clock of the shelf

	mu        sync.Mutex // guards what follows; held while the volume is opened
	signature *signature // nil: not looked at
	fs        tree.FileSystem
	fsErr     error // that opening it gave, where trying again would give the same
	kept      bool  // fs was given, and cannot be had again
}

// FS opens the file system of the volume; it stays open until [Volume.Drop].
// Errors: a *NotInPointError or *UnreadableError where there is none to be
// read, a *tree.CorruptError, a *tree.UnsupportedError, those of the disk.
func (v *Volume) FS() (tree.FileSystem, error) {
	fs, opened, err := v.ready()
	if err == nil && v.g != nil && v.g.o.Shelf != nil {
		v.g.o.Shelf.asked(v, opened)
	}
	return fs, err
}

// ready opens the file system unless it is open.
func (v *Volume) ready() (fs tree.FileSystem, opened bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fs != nil || v.fsErr != nil {
		return v.fs, false, v.fsErr
	}
	fs, err = v.open()
	return fs, err == nil, err
}

// open opens the file system; v.mu is held.
func (v *Volume) open() (tree.FileSystem, error) {
	s, err := v.look()
	if err != nil {
		return nil, err
	}
	if s.format == nil {
		v.fsErr = s.unreadable(v)
		return nil, v.fsErr
	}
	if s.format.Member != nil {
		fs, set, err := v.openSet(s.format)
		if set {
			return fs, err
		}
	}
	fs, err := s.format.Open(v.r, v.Size, v.options())
	if err != nil {
		return nil, fmt.Errorf("volume %s (%s): %w", v.Name, s.kind, err)
	}
	v.fs = fs
	return fs, nil
}

func (v *Volume) options() tree.Options {
	return tree.Options{Memory: v.g.o.Memory, CodePage: v.g.o.CodePage}
}

// Drop lets go of the memory that the open volume takes; what asks next opens it again.
// Files that were opened before go on being read.
func (v *Volume) Drop() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.kept {
		v.fs = nil
	}
}

// Identity is what the first blocks of a volume say, without opening it.
type Identity struct {
	Type        string // as blkid(8) calls it: ext4, LVM2_member, crypto_LUKS; "" unknown
	Label, UUID string // as blkid(8) prints them; empty where there is none
	Readable    bool   // by one of the readers
}

// Identify reads a few blocks.
func (v *Volume) Identify() (Identity, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, err := v.look()
	if err != nil {
		return Identity{}, err
	}
	return Identity{s.kind, s.label, s.uuid, s.format != nil}, nil
}

// look finds out what the volume holds, once; v.mu is held.
func (v *Volume) look() (*signature, error) {
	if v.err != nil {
		return nil, v.err
	}
	if v.signature == nil {
		s, err := identify(v)
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", v.Name, err)
		}
		v.signature = s
	}
	return v.signature, nil
}

// Report is all that is known of a volume.
type Report struct {
	Identity
	Size, Used int64 // bytes; Used is -1 where it is not known
	Journal    tree.Journal
	MountedAt  []string // by the guest's fstab
	Notes      []string
	Err        error // why it cannot be read; nil if it can
}

// Report opens the volume.
func (v *Volume) Report() Report {
	r := Report{Size: v.Size, Used: -1}
	if r.Identity, r.Err = v.Identify(); r.Err != nil {
		return r
	}
	r.Notes = slices.Clone(v.notes) // complete by now
	r.MountedAt = v.g.MountedAt(v)
	if w, err := v.g.Root(); err == nil && w.root == v {
		r.Notes = append(r.Notes, w.notes...)
	}
	fs, err := v.FS()
	if r.Err = err; err != nil {
		return r
	}
	info := fs.Info()
	r.Used, r.Journal, r.Notes = info.Used, info.Journal, append(r.Notes, info.Notes...)
	for _, field := range []struct {
		to   *string
		from string
	}{{&r.Type, info.Type}, {&r.Label, info.Label}, {&r.UUID, info.UUID}} {
		if field.from != "" {
			*field.to = field.from
		}
	}
	return r
}
