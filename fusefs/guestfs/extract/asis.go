package extract

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// finish gives what was made its metadata. f is the open file or folder, nil for what is not
// opened: link, device. name is what it is called in dir. A plain copy has what it needs.
func (c *copier) finish(f *os.File, dir *folder, name string, p guestfs.Place, a tree.Attr) error {
	if !c.o.AsIs {
		return nil
	}
	if err := c.owner(dir, name, f, a); err != nil {
		return err
	}
	if f != nil {
		if err := c.xattrs(f, p); err != nil {
			return err
		}
	}
	if err := c.times(f, dir, name, a); err != nil {
		return err
	}
	return c.mode(f, dir, name, a) // last: a folder that is closed to all cannot be searched for its times
}

func (c *copier) owner(dir *folder, name string, f *os.File, a tree.Attr) error {
	if !c.root {
		c.r.note("owners were not kept: root alone may give files away")
		return nil
	}
	if f != nil {
		return target(f.Chown(int(a.UID), int(a.GID)))
	}
	return target(unix.Fchownat(dir.fd(), name, int(a.UID), int(a.GID), unix.AT_SYMLINK_NOFOLLOW))
}

// mode sets permissions; setuid, setgid and sticky bits by root alone, since the owner would
// be another.
func (c *copier) mode(f *os.File, dir *folder, name string, a tree.Attr) error {
	bits := a.Mode & 0o7777
	if !c.root && bits&0o7000 != 0 {
		bits &= 0o777
		c.r.note("setuid, setgid or sticky bits were not kept: that takes root")
	}
	switch {
	case f != nil:
		return target(unix.Fchmod(int(f.Fd()), bits))
	case a.Mode&unix.S_IFMT == unix.S_IFLNK:
		return nil
	}
	return target(unix.Fchmodat(dir.fd(), name, bits, 0))
}

func (c *copier) times(f *os.File, dir *folder, name string, a tree.Attr) error {
	stamp := func(t time.Time) unix.Timespec {
		if t.IsZero() {
			return unix.Timespec{Nsec: unix.UTIME_OMIT}
		}
		return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
	}
	ts := []unix.Timespec{stamp(a.Atime), stamp(a.Mtime)}
	at := dir.fd()
	if f != nil && a.Mode&unix.S_IFMT == unix.S_IFDIR {
		at, name = int(f.Fd()), "."
	}
	return target(unix.UtimesNanoAt(at, name, ts, unix.AT_SYMLINK_NOFOLLOW))
}

// xattrs sets extended attributes, ACLs among them. Those that this user may not set, or the
// target's file system does not keep, are noted.
func (c *copier) xattrs(f *os.File, p guestfs.Place) error {
	fs, err := p.Volume.FS()
	if err != nil {
		return err
	}
	names, err := fs.Xattrs(p.Ino)
	if err != nil {
		c.r.problem(p.Path, fmt.Errorf("its extended attributes were not kept: %w", err)) // the content is
	}
	for _, name := range names {
		if !c.root && !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "system.posix_acl_") {
			c.r.note("extended attributes were not kept: that takes root")
			continue
		}
		value, err := fs.Xattr(p.Ino, name)
		if err != nil {
			c.r.problem(p.Path, fmt.Errorf("its extended attribute %s was not kept: %w", name, err))
			continue
		}
		err = unix.Fsetxattr(int(f.Fd()), name, value, 0)
		switch {
		case err == nil:
		case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG):
			c.r.problem(p.Path, errors.New("the target does not keep its extended attribute "+name+": "+err.Error()))
		default:
			return target(err)
		}
	}
	return nil
}
