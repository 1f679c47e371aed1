package extract

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

type tarArchive struct {
	w     *tar.Writer
	out   io.Writer // where w writes
	links map[inode]string
	owed  int64 // zeros that end the entry which was written past w
}

func (t *tarArchive) Close() error { return errors.Join(t.settle(), t.w.Close()) }

func (t *tarArchive) text(name string, content []byte) error {
	if err := t.settle(); err != nil {
		return err
	}
	err := t.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err == nil {
		_, err = t.w.Write(content)
	}
	return err
}

func (t *tarArchive) add(name string, p guestfs.Place, a tree.Attr, target string, parts []tree.Extent) (io.Writer, error) {
	if err := t.settle(); err != nil {
		return nil, &fatalError{fmt.Errorf("write the archive: %w", err)}
	}
	h := &tar.Header{Name: name, Linkname: target, Mode: int64(a.Mode & 0o7777), Uid: int(a.UID), Gid: int(a.GID),
		ModTime: a.Mtime, Format: tar.FormatPAX, Devmajor: int64(a.Major), Devminor: int64(a.Minor)}
	content := false
	id := inode{p.Volume, p.Ino}
	first, again := t.links[id]
	switch kind := a.Mode & unix.S_IFMT; {
	case again:
		h.Typeflag, h.Linkname, h.Devmajor, h.Devminor = tar.TypeLink, first, 0, 0
	case kind == unix.S_IFDIR:
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
	case kind == unix.S_IFLNK:
		h.Typeflag = tar.TypeSymlink
	case kind == unix.S_IFBLK:
		h.Typeflag = tar.TypeBlock
	case kind == unix.S_IFCHR:
		h.Typeflag = tar.TypeChar
	case kind == unix.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case kind == unix.S_IFREG:
		h.Typeflag, h.Size, content = tar.TypeReg, a.Size, true
	default:
		return nil, errors.New("tar has no sockets")
	}
	attributes := xattrsInto(h, p) // damage in them costs nothing else
	w, err := io.Writer(t.w), error(nil)
	if content && !slices.Equal(parts, whole(a.Size)) {
		w, err = t.out, t.sparse(h, parts)
	} else {
		err = t.w.WriteHeader(h)
	}
	if err != nil {
		if errors.Is(err, tar.ErrHeader) {
			return nil, err
		}
		return nil, &fatalError{fmt.Errorf("write the archive: %w", err)}
	}
	if !again && a.Nlink > 1 && h.Typeflag != tar.TypeDir && len(t.links) < maxLinked {
		t.links[id] = name
	}
	if !content {
		return nil, attributes
	}
	return w, attributes
}

// xattrsInto adds extended attributes as GNU tar and bsdtar keep them.
func xattrsInto(h *tar.Header, p guestfs.Place) error {
	fsys, err := p.Volume.FS()
	if err != nil {
		return err
	}
	names, err := fsys.Xattrs(p.Ino)
	if err != nil {
		return err
	}
	for _, name := range names {
		v, err := fsys.Xattr(p.Ino, name)
		if err != nil {
			return err
		}
		if strings.ContainsAny(name, "=\x00") || strings.Contains(string(v), "\x00") && strings.HasPrefix(name, "GNU.sparse") {
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords["SCHILY.xattr."+name] = string(v)
		if key := aclKeys[name]; key != "" {
			if text, ok := aclText(v); ok {
				h.PAXRecords[key] = text
			}
		}
	}
	return nil
}
