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
	// error that concerns something else: of the parts of it in order, all else being holes.
	add(name string, p guestfs.Place, a tree.Attr, target string, parts []tree.Extent) (io.Writer, error)
	// text adds a file that the guest does not have.
	text(name string, content []byte) error
	io.Closer
}

// Tar writes a tar archive (PAX) of places as they are in the guest, in one pass. Holes are written as zeros,
// unless [Options.Sparse]. Where a file's content is damaged, its rest is zeros, and a problem.
func Tar(ctx context.Context, w io.Writer, places []guestfs.Place, o Options) (Result, error) {
	return archive(ctx, &tarArchive{w: tar.NewWriter(w), out: w, links: map[inode]string{}}, places, o)
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
	parts := whole(a.Size)
	if o.Sparse && content != nil {
		parts = dataOf(content, a.Size)
	}
	w, err := to.add(name, p, a, target, parts)
	if w == nil || content == nil {
		return err
	}
	return errors.Join(r.pour(ctx, w, content, parts, o), err)
}

// whole is a file of so many bytes that is taken without regard to its holes.
func whole(size int64) []tree.Extent { return []tree.Extent{{Off: 0, Len: size}} }

// pour writes parts of a file's content, and zeros from where it cannot be read on: how long they are is
// written already.
func (r *Result) pour(ctx context.Context, w io.Writer, content tree.File, parts []tree.Extent, o Options) error {
	var failed error
	for _, part := range parts {
		buf := r.buffer(part.Len)
		for off, end := part.Off, part.Off+part.Len; off < end; {
			if err := ctx.Err(); err != nil {
				return err
			}
			b := buf[:min(end-off, int64(len(buf)))]
			if failed == nil {
				failed = readAll(content, b, off)
			}
			if failed != nil {
				clear(b)
			}
			if _, err := w.Write(b); err != nil {
				return &fatalError{fmt.Errorf("write the archive: %w", err)}
			}
			off += int64(len(b))
			r.Bytes += int64(len(b))
			o.progress(r)
		}
	}
	if failed != nil {
		failed = fmt.Errorf("zeros stand for what cannot be read of it: %w", failed)
	}
	return failed
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

func (z *zipArchive) add(name string, _ guestfs.Place, a tree.Attr, target string, _ []tree.Extent) (io.Writer, error) {
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
