package fusefs

import (
	"errors"
	iofs "io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// The kernel names a guest's inode by a number that says all: the upper bit, the slot
// of its volume, the lower bits of the inode's own number. So nothing is kept for the millions that a walk
// touches, and forgetting them is nothing to do.
//
// Inode numbers that programs see are those of the guest, multiplied and moved by a
// number of the volume, modulo 2^63: hard links of one inode share one, and two
// volumes of a mount, which is one device to programs, do not.
const (
	guestBit  = 1 << 63
	slotBits  = 23
	inodeBits = 40
	inoFactor = 0x5851f42d4c957f2d // odd, so that no two inodes of a volume meet
)

// isGuest tells the kernel's name of an inode of a guest.
func isGuest(node uint64) bool { return node&guestBit != 0 }

// guestNode is an inode of a volume.
type guestNode struct {
	raw  *guestTree
	s    *shown
	ino  uint64
	fsys gtree.FileSystem
}

// node finds what the kernel means. Errors are logged.
func (r *guestTree) node(id uint64) (*guestNode, syscall.Errno) {
	s, ino, ok := r.t.guests.inode(id)
	if !ok {
		return nil, syscall.ESTALE
	}
	return r.inode(s, ino)
}

// inode is node for one that has no name yet.
func (r *guestTree) inode(s *shown, ino uint64) (*guestNode, syscall.Errno) {
	g := &guestNode{raw: r, s: s, ino: ino}
	var err error
	if g.fsys, err = r.t.guests.open(s); err != nil {
		return nil, g.errno(err)
	}
	return g, 0
}

func (n *guestNode) errno(err error) syscall.Errno { return n.raw.t.guestErrno(err, n.s) }

// inoOf is the inode number that programs see.
func (s *shown) inoOf(ino uint64) uint64 {
	n := (s.base + ino*inoFactor) &^ guestBit
	if n <= rootIno {
		return n + rootIno + 1
	}
	return n
}

// entry answers a lookup of an inode.
func (n *guestNode) entry(ino uint64, out *fuse.EntryOut) error {
	id, err := n.raw.t.guests.node(n.s, ino)
	if err != nil {
		return err
	}
	a, err := n.fsys.Stat(ino)
	if err != nil {
		return err
	}
	if err := n.attr(a, &out.Attr); err != nil {
		return err
	}
	out.NodeId = id
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	return nil
}

func (n *guestNode) attr(a gtree.Attr, out *fuse.Attr) error {
	out.Ino = n.s.inoOf(a.Ino)
	out.Mode, out.Nlink = a.Mode, a.Nlink
	out.Uid, out.Gid = a.UID, a.GID
	out.Size, out.Blocks = uint64(max(a.Size, 0)), uint64(max(a.Allocated, 0)+511)/512
	out.Blksize = blockSize
	out.Rdev = a.Minor&0xff | a.Major<<8 | a.Minor&^0xff<<12
	out.SetTimes(kept(&a.Atime), kept(&a.Mtime), kept(&a.Ctime))
	if a.Mode&unix.S_IFMT == unix.S_IFLNK && n.raw.t.o.ResolveLinks {
		target, err := n.readlink(a.Ino)
		out.Size = uint64(len(target))
		return err
	}
	return nil
}

// kept is a time that the file system keeps; nil, for 1970, of others.
func kept(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return t
}

func (n *guestNode) lookup(name string, out *fuse.EntryOut) error {
	if other, err := n.crossed(name); other != nil || err != nil {
		if err != nil {
			return err
		}
		return other.entry(other.ino, out)
	}
	ino, err := n.fsys.Lookup(n.ino, name)
	if err != nil {
		return err
	}
	return n.found(name, ino, out)
}

// found answers a lookup of an entry at which nothing is mounted.
func (n *guestNode) found(name string, ino uint64, out *fuse.EntryOut) error {
	n.leadsTo(name, ino)
	return n.entry(ino, out)
}

// readlink returns the target of a link, within the mount if that was asked for.
func (n *guestNode) readlink(ino uint64) (string, error) {
	target, err := n.fsys.Readlink(ino)
	if err != nil || !n.raw.t.o.ResolveLinks || !strings.HasPrefix(target, "/") {
		return target, err
	}
	return n.raw.t.resolved(n.s, target), nil
}

func (n *guestNode) xattr(name string, dest []byte) (uint32, syscall.Errno) {
	v, err := n.fsys.Xattr(n.ino, name)
	if errors.Is(err, iofs.ErrNotExist) && name == selinux && !n.raw.t.guests.labels(n.s, n.fsys) {
		return 0, syscall.ENOTSUP
	}
	if err != nil {
		return 0, n.errno(noData(err))
	}
	if len(v) > len(dest) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}

func noData(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return syscall.ENODATA
	}
	return err
}

func (n *guestNode) xattrs(dest []byte) (uint32, syscall.Errno) {
	names, err := n.fsys.Xattrs(n.ino)
	if err != nil {
		return 0, n.errno(err)
	}
	list := strings.Join(names, "\x00")
	if list != "" {
		list += "\x00"
	}
	if len(list) > len(dest) {
		return uint32(len(list)), syscall.ERANGE
	}
	return uint32(copy(dest, list)), 0
}

func (n *guestNode) statfs(out *fuse.StatfsOut) {
	info := n.fsys.Info()
	bs := int64(max(info.BlockSize, 512))
	free := int64(0)
	if info.Used >= 0 {
		free = max(info.Size-info.Used, 0) / bs
	}
	*out = fuse.StatfsOut{Blocks: uint64(info.Size / bs), Bfree: uint64(free), Bsize: uint32(bs), Frsize: uint32(bs), NameLen: 255}
}
