package extract

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// archiver is what tar and zip do differently.
type archiver interface {
	// add begins an entry; what it returns takes the content of a file, also beside an
	// error that concerns something else.
	add(name string, p guestfs.Place, a tree.Attr, target string) (io.Writer, error)
	// text adds a file that the guest does not have.
	text(name string, content []byte) error
	io.Closer
}

// Tar writes a tar archive (PAX) of places as they are in the guest, in one pass. Holes are
// written as zeros. Where a file's content is damaged, its rest is zeros, and a problem.
func Tar(ctx context.Context, w io.Writer, places []guestfs.Place, o Options) (Result, error) {
	return archive(ctx, &tarArchive{w: tar.NewWriter(w), r: &Result{}, links: map[inode]string{}}, places, o)
}

// Zip writes a zip archive of files, folders and links, with permissions and times.
func Zip(ctx context.Context, w io.Writer, places []guestfs.Place, o Options) (Result, error) {
	return archive(ctx, &zipArchive{w: zip.NewWriter(w), r: &Result{}}, places, o)
}

func archive(ctx context.Context, to archiver, places []guestfs.Place, o Options) (r Result, err error) {
	for _, top := range places {
		err := top.Walk(ctx, func(p guestfs.Place, a tree.Attr, err error) error {
			if err == nil {
				err = r.archived(ctx, to, nameIn(top, p), p, a, o)
			}
			if stop := (*fatalError)(nil); errors.As(err, &stop) || ctx.Err() != nil {
				return err
			}
			if err != nil {
				r.problem(p.Path, err)
			}
			return nil
		})
		if err != nil {
			return r, err
		}
	}
	for what, n := range noted(to) {
		r.Notes = append(r.Notes, fmt.Sprintf("%d %s", n, what))
	}
	if o.Last != nil {
		if name, content := o.Last(r); name != "" {
			err = to.text(name, content)
		}
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return r, fmt.Errorf("write the archive: %w", err)
	}
	return r, nil
}

func noted(to archiver) map[string]int64 {
	if z, ok := to.(*zipArchive); ok {
		return z.r.noted
	}
	return nil
}

// nameIn is a path from the last name of where the archive begins.
func nameIn(top, p guestfs.Place) string {
	below := strings.TrimPrefix(strings.TrimPrefix(p.Path, top.Path), "/")
	if top.Path == "/" {
		return path.Join(".", below)
	}
	return path.Join(top.Name(), below)
}

func (r *Result) archived(ctx context.Context, to archiver, name string, p guestfs.Place, a tree.Attr, o Options) error {
	target := ""
	var content tree.File
	var err error
	if o.Entries > 0 && r.Files+r.Folders+r.Links >= o.Entries {
		return fmt.Errorf("it is left out, since the archive holds %d entries already", o.Entries)
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		r.Folders++
	case unix.S_IFLNK:
		r.Links++
		target, err = p.Readlink()
	case unix.S_IFREG:
		r.Files++
		content, _, err = p.Open()
	}
	if err != nil {
		return err
	}
	w, err := to.add(name, p, a, target)
	if w == nil || content == nil {
		return err
	}
	return errors.Join(r.pour(ctx, w, content, a.Size, o), err)
}

// pour writes a file's content, and zeros from where it cannot be read on: its size is
// written already.
func (r *Result) pour(ctx context.Context, w io.Writer, content tree.File, size int64, o Options) error {
	buf := r.buffer(size)
	var failed error
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(size-off, int64(len(buf)))]
		if failed == nil {
			failed = readAll(content, part, off)
		}
		if failed != nil {
			clear(part)
		}
		if _, err := w.Write(part); err != nil {
			return &fatalError{fmt.Errorf("write the archive: %w", err)}
		}
		off += int64(len(part))
		r.Bytes += int64(len(part))
		o.progress(r)
	}
	if failed != nil {
		failed = fmt.Errorf("zeros stand for what cannot be read of it: %w", failed)
	}
	return failed
}

type tarArchive struct {
	w     *tar.Writer
	r     *Result
	links map[inode]string
}

func (t *tarArchive) Close() error { return t.w.Close() }

func (t *tarArchive) text(name string, content []byte) error {
	err := t.w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err == nil {
		_, err = t.w.Write(content)
	}
	return err
}

func (t *tarArchive) add(name string, p guestfs.Place, a tree.Attr, target string) (io.Writer, error) {
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
	if err := t.w.WriteHeader(h); err != nil {
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
	return t.w, attributes
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

type zipArchive struct {
	w *zip.Writer
	r *Result
}

func (z *zipArchive) Close() error { return z.w.Close() }

func (z *zipArchive) text(name string, content []byte) error {
	w, err := z.w.Create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	return err
}

func (z *zipArchive) add(name string, _ guestfs.Place, a tree.Attr, target string) (io.Writer, error) {
	if name == "." {
		return nil, nil
	}
	if strings.Contains(name, `\`) {
		name = strings.ReplaceAll(name, `\`, "%5C")
		z.r.note("names hold a backslash, which is written as %5C: Windows would take it for the end of a folder's name")
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.Mtime.UTC().Truncate(time.Second)}
	h.SetMode(fs.FileMode(a.Mode & 0o777))
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		h.Name, h.Method = name+"/", zip.Store
		h.SetMode(fs.ModeDir | fs.FileMode(a.Mode&0o777))
	case unix.S_IFLNK:
		h.SetMode(fs.ModeSymlink | 0o777)
	case unix.S_IFREG:
	default:
		z.r.note("devices, pipes and sockets were left out: zip has none")
		return nil, nil
	}
	w, err := z.w.CreateHeader(h)
	if err == nil && target != "" {
		_, err = io.WriteString(w, target)
	}
	if err != nil {
		return nil, &fatalError{fmt.Errorf("write the archive: %w", err)}
	}
	return w, nil
}
