package guestfs

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Disk is one disk of a recovery point.
type Disk struct {
	Name       string // as the point calls it: vda
	R          io.ReaderAt
	Size       int64 // bytes
	SectorSize int   // logical, bytes; 0: not known
}

// Missing is a disk of the machine that is not in the point.
type Missing struct{ Name, Reason string }

// Options of [Open]. The zero value works.
type Options struct {
	// Memory is what one open volume may keep in memory, in bytes; 0: 64 MiB.
	Memory int64

	// Shelf bounds how many volumes are open at once, of all guests that have it; nil: nothing does.
	Shelf *Shelf

	// CodePage decodes names that are kept in one; "": IBM437.
	CodePage string

	// Missing are disks of the machine that are not in the point, for messages.
	Missing []Missing

	// Keys open encrypted volumes; nil: they stay locked.
	Keys *Keys

	// Formats are the file systems that are read; nil: all that are known.
	Formats []tree.Format
}

// Guest is what lies on the disks of one point. Its methods may be called from
// several goroutines. Nothing is read before it is asked for, and there is nothing
// to close: [Volume.Drop] lets go of memory.
type Guest struct {
	disks []Disk
	o     Options

	scan    sync.Once // sets what follows
	volumes []*Volume
	byName  map[string]*Volume
	notes   []string

	aliasMu sync.Mutex
	aliases map[string]*Volume // by the names that the guest's crypttab gives

	rootMu sync.Mutex // guards what follows; held while the root is looked for
	root   *View
	sought bool
	noRoot error
}

// Open returns the guest of these disks. It reads nothing.
func Open(disks []Disk, o Options) *Guest {
	if o.Formats == nil {
		o.Formats = formats
	}
	disks = slices.Clone(disks)
	for i := range disks {
		disks[i].R = &numbered{disks[i].R, i}
	}
	return &Guest{disks: disks, o: o}
}

// Volumes are the partitions and whole disks that were found, in the order of the
// disks, then what lies on them: arrays of md, what encrypted volumes hold (where a key
// opens them), logical volumes; each with a name of its own. A
// table that cannot be read makes its disk one volume that cannot be read.
func (g *Guest) Volumes() []*Volume {
	g.scan.Do(g.find)
	return g.volumes
}

// Notes say what a person should know of the disks' tables and volume groups.
func (g *Guest) Notes() []string {
	g.scan.Do(g.find)
	return g.notes
}

// Volume finds a volume by its name. A *NotInPointError: it would lie on a disk that
// was left out; a *NoVolumeError: there is none.
func (g *Guest) Volume(name string) (*Volume, error) {
	g.scan.Do(g.find)
	if v := g.byName[name]; v != nil {
		return v, nil
	}
	if slices.ContainsFunc(g.volumes, func(v *Volume) bool { return v.crypt != nil }) {
		g.Root() // whose crypttab may name it; its own errors are of no matter here
		if v := g.alias(name); v != nil {
			return v, nil
		}
	}
	for _, m := range g.o.Missing {
		if disk, _ := diskOf(name, []string{m.Name}); disk != "" {
			return nil, &NotInPointError{What: name, Why: leftOut([]Missing{m})}
		}
	}
	if err := g.mayLieLocked(name); err != nil {
		return nil, err
	}
	return nil, &NoVolumeError{name, g}
}

// NoVolumeError says that a guest has no volume of that name.
type NoVolumeError struct {
	Name  string
	guest *Guest
}

func (e *NoVolumeError) Error() string {
	text := fmt.Sprintf("this point has no volume %s", e.Name)
	for i, v := range e.guest.volumes {
		if i == 0 {
			text += "; it has "
		} else {
			text += ", "
		}
		if text += v.Name; i == 20 {
			return text + ", ..."
		}
	}
	return text
}

// Drop lets go of the memory of all volumes.
func (g *Guest) Drop() {
	for _, v := range g.Volumes() {
		v.Drop()
	}
}

func (g *Guest) note(format string, args ...any) {
	g.notes = append(g.notes, fmt.Sprintf(format, args...))
}
