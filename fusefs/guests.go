package fusefs

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Open volumes are bounded in number and each in memory, however many points are
// visited: what was not used for longest is let go, and opened again when it is asked.
const (
	openVolumes  = 4
	volumeMemory = 64 << 20
	idleVolume   = 2 * time.Minute
)

// guests are the guests whose files are being read.
type guests struct {
	vault   Vault
	formats []gtree.Format // nil: all
	now     func() time.Time

	mu      sync.Mutex // guards what follows, never held while a volume is read
	points  map[blockstore.PointID]*guestfs.Guest
	keys    *guestfs.Keys
	volumes []*shown // each that was ever looked up
	byName  map[volumeName]*shown
	slots   []slot
	bySlot  map[slot]uint64 // their numbers

	labelled map[*shown]bool // whether the guest labels files for SELinux, once that was asked
}

type volumeName struct {
	point  blockstore.PointID
	volume string
	mount  string
}

// shown is a volume of a point that was looked up. The volume itself comes and goes.
type shown struct {
	point  *blockstore.Point
	volume string
	mount  string // where it is in the guest's root, as part of which it is shown; "": by itself
	base   uint64 // of inode numbers

	leads map[uint64]string // folders below which others are mounted, by inode: their paths; guarded by guests.mu

	at   *guestfs.Volume // guarded by guests.mu; nil: closed
	used time.Time       // guarded by guests.mu
}

// slot is a volume with the upper bits of its inode numbers: with few exceptions there is
// one for each volume, since these bits are zero. NTFS counts in them how often a record was
// used. A slot's number is part of the kernel's names for inodes, so it is never given to
// another.
type slot struct {
	*shown
	upper uint64
}

func newGuests(v Vault, formats []gtree.Format, keys *guestfs.Keys) *guests {
	return &guests{vault: v, formats: formats, keys: keys, now: time.Now, points: map[blockstore.PointID]*guestfs.Guest{},
		byName: map[volumeName]*shown{}, bySlot: map[slot]uint64{}, labelled: map[*shown]bool{}}
}

// guest returns the guest of a point. No file system is opened by that.
func (g *guests) guest(p *blockstore.Point) *guestfs.Guest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.guestLocked(p)
}

func (g *guests) guestLocked(p *blockstore.Point) *guestfs.Guest {
	if g.points[p.ID] == nil {
		g.points[p.ID] = OpenGuest(g.vault, p, guestfs.Options{Memory: volumeMemory, Formats: g.formats, Keys: g.keys})
	}
	return g.points[p.ID]
}

// OpenGuest returns the guest whose disks p holds. Nothing is read before it is asked
// for; a disk that cannot be opened is an error of its volumes.
func OpenGuest(v Vault, p *blockstore.Point, o guestfs.Options) *guestfs.Guest {
	var disks []guestfs.Disk
	for _, d := range p.Disks {
		disks = append(disks, guestfs.Disk{Name: d.Name, Size: d.Size, SectorSize: d.LogicalSector,
			R: &lazyDisk{open: sync.OnceValues(func() (Disk, error) { return v.OpenDisk(p, d.Name) })}})
	}
	for _, l := range p.LeftOut {
		o.Missing = append(o.Missing, guestfs.Missing{Name: l.Name, Reason: l.Reason})
	}
	return guestfs.Open(disks, o)
}

// lazyDisk is opened by its first read.
type lazyDisk struct{ open func() (Disk, error) }

func (d *lazyDisk) ReadAt(p []byte, off int64) (int, error) {
	disk, err := d.open()
	if err != nil {
		return 0, err
	}
	if off >= disk.Size() {
		return 0, io.EOF
	}
	return disk.ReadAt(p, off)
}

var errSlots = errors.New("more volumes were looked into than one mount can name: unmount and mount again")

// show returns what is known of a volume by itself, or where it is mounted.
func (g *guests) show(p *blockstore.Point, volume, mount string) *shown {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := volumeName{p.ID, volume, mount}
	if g.byName[name] == nil {
		s := &shown{point: p, volume: volume, mount: mount, base: ino(kindVolume, string(p.ID), volume), leads: map[uint64]string{}}
		if mount != "" {
			s.base = ino(kindMount, string(p.ID), mount)
		}
		g.byName[name] = s
		g.volumes = append(g.volumes, g.byName[name])
	}
	return g.byName[name]
}

// node is the kernel's name for an inode of a volume.
func (g *guests) node(s *shown, ino uint64) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := slot{s, ino >> inodeBits}
	n, ok := g.bySlot[key]
	if !ok {
		if n = uint64(len(g.slots)); n >= 1<<slotBits {
			return 0, errSlots
		}
		g.slots = append(g.slots, key)
		g.bySlot[key] = n
	}
	return guestBit | n<<inodeBits | ino&(1<<inodeBits-1), nil
}

// inode is what the kernel means by a name.
func (g *guests) inode(node uint64) (s *shown, ino uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := node &^ guestBit >> inodeBits
	if n >= uint64(len(g.slots)) {
		return nil, 0, false
	}
	return g.slots[n].shown, g.slots[n].upper<<inodeBits | node&(1<<inodeBits-1), true
}

// forget has the disks of a point looked at anew, unless one of its volumes is open.
func (g *guests) forget(p *blockstore.Point) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.volumes {
		if s.point.ID == p.ID && s.at != nil {
			return
		}
	}
	delete(g.points, p.ID)
}

// open returns the file system of s, which may be open already.
func (g *guests) open(s *shown) (gtree.FileSystem, error) {
	g.mu.Lock()
	v, guest := s.at, g.guestLocked(s.point)
	g.mu.Unlock()
	if v == nil {
		var err error
		if v, err = guest.Volume(s.volume); err != nil {
			return nil, fmt.Errorf("%w: %w", errGone, err)
		}
	}
	fs, err := v.FS()
	if passing(err) {
		g.forget(s.point)
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.used = g.now()
	if s.at != v { // opened now, or let go while we asked
		s.at, g.points[s.point.ID] = v, guest
		g.dropLocked(openVolumes, time.Time{})
	}
	return fs, nil
}

var errGone = errors.New("the volume is gone")

// sweep lets go of what was not used for a while.
func (g *guests) sweep() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dropLocked(openVolumes, g.now().Add(-idleVolume))
}

// dropLocked closes volumes that were not used since a time, and the least recently
// used ones beyond a number. A guest none of whose volumes is open is forgotten, once
// there are more of them than volumes may be.
func (g *guests) dropLocked(keep int, since time.Time) {
	for {
		var oldest *shown
		open := 0
		used := map[blockstore.PointID]bool{}
		for _, s := range g.volumes {
			if s.at == nil {
				continue
			}
			open++
			used[s.point.ID] = true
			if oldest == nil || s.used.Before(oldest.used) {
				oldest = s
			}
		}
		if oldest != nil && (open > keep || oldest.used.Before(since)) {
			oldest.at.Drop()
			oldest.at = nil
			continue
		}
		for id := range g.points {
			if !used[id] && (len(g.points) > keep || !since.IsZero()) {
				delete(g.points, id)
			}
		}
		return
	}
}
