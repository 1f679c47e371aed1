package iso9660

import (
	"fmt"
	"io"
	"io/fs"
	"iter"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// mode is what Rock Ridge says, or what a medium is that cannot be written.
func (v *volume) mode(r *record) uint32 {
	kind := uint32(unix.S_IFREG)
	if r.folder() {
		kind = unix.S_IFDIR
	}
	switch {
	case !r.rock.attributes && r.folder():
		return unix.S_IFDIR | 0o555
	case !r.rock.attributes:
		return unix.S_IFREG | 0o444
	case r.folder() != (r.rock.mode&unix.S_IFMT == unix.S_IFDIR):
		return kind | r.rock.mode&0o7777 // the record is where its content is
	}
	return r.rock.mode & 0xFFFF
}

// Stat returns what the record of a file or folder says.
func (v *volume) Stat(ino uint64) (tree.Attr, error) {
	r, err := v.recordAt(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	k := &r.rock
	if k.err != nil {
		return tree.Attr{}, k.err
	}
	a := tree.Attr{Ino: ino, Mode: v.mode(&r), Nlink: 1, Size: r.size(), Mtime: r.time}
	a.Allocated = (a.Size + v.block - 1) / v.block * v.block
	if k.attributes {
		a.Nlink, a.UID, a.GID = max(k.nlink, 1), k.uid, k.gid
	}
	a.Btime, a.Atime, a.Ctime = k.times[0], k.times[2], k.times[3]
	if !k.times[1].IsZero() {
		a.Mtime = k.times[1]
	}
	if k.device {
		a.Major, a.Minor = k.major, k.minor
	}
	switch {
	case a.Mode&unix.S_IFMT == unix.S_IFLNK:
		a.Size, a.Allocated = int64(len(k.link.text)), 0
	case k.zisofs:
		a.Size = k.size
	}
	return a, nil
}

// Readlink returns the target that Rock Ridge tells.
func (v *volume) Readlink(ino uint64) (string, error) {
	r, err := v.recordAt(ino)
	switch {
	case err != nil:
		return "", err
	case v.mode(&r)&unix.S_IFMT != unix.S_IFLNK:
		return "", fmt.Errorf("file %d is not a symbolic link: %w", ino, fs.ErrInvalid)
	case r.rock.err != nil:
		return "", r.rock.err
	case r.rock.link.text == "":
		return "", &tree.CorruptError{What: fmt.Sprintf("symbolic link %d", ino), Why: "it has no target", At: r.at}
	}
	return r.rock.link.text, nil
}

// Xattrs returns none.
func (v *volume) Xattrs(ino uint64) ([]string, error) {
	_, err := v.recordAt(ino)
	return nil, err
}

// Xattr finds none.
func (v *volume) Xattr(ino uint64, name string) ([]byte, error) {
	return nil, fmt.Errorf("attribute %s of file %d: %w", name, ino, fs.ErrNotExist)
}

// Open returns the content of a file.
func (v *volume) Open(ino uint64) (tree.File, error) {
	r, err := v.recordAt(ino)
	switch {
	case err != nil:
		return nil, err
	case v.mode(&r)&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("inode %d is not a regular file: %w", ino, fs.ErrInvalid)
	case r.rock.zisofs:
		return nil, &tree.UnsupportedError{What: fmt.Sprintf("file %d", ino), Why: "its content is compressed (zisofs)"}
	case r.gaps:
		return nil, &tree.UnsupportedError{What: fmt.Sprintf("file %d", ino), Why: "its content is interleaved with another"}
	}
	return &file{v.r, ino, r.sections, r.size()}, nil
}

// file is the content of one. It may be read from several goroutines.
type file struct {
	r        io.ReaderAt
	ino      uint64
	sections []section
	size     int64
}

// ReadAt reads straight into p, with one read of the volume for each section.
func (f *file) ReadAt(p []byte, off int64) (done int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("file %d: read at %d", f.ino, off)
	}
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	for _, s := range f.sections {
		if off >= s.size {
			off -= s.size
			continue
		}
		part := p[done:]
		part = part[:min(int64(len(part)), s.size-off)]
		if err := tree.ReadFull(f.r, part, s.at+off); err != nil {
			return done, fmt.Errorf("file %d at %d of the volume: %w", f.ino, s.at+off, err)
		}
		if done += len(part); done == len(p) {
			break
		}
		off = 0
	}
	return done, end
}

// Extents yields the whole file: ISO 9660 knows no holes.
func (f *file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if f.size > 0 {
			yield(tree.Extent{Len: f.size}, nil)
		}
	}
}
