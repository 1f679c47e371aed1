package extract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// chunk is what is read at once, in bytes.
const chunk = 1 << 20

var zeros = make([]byte, 64<<10)

// file copies a regular file: beside its name first, under it when it is whole.
func (c *copier) file(dir *folder, name string, p guestfs.Place, a tree.Attr) error {
	content, size, err := p.Open()
	if err != nil {
		return err
	}
	if err := c.roomFor(dir, name); err != nil {
		return target(err)
	}
	perm := os.FileMode(0o600)
	if !c.o.AsIs {
		perm |= os.FileMode(a.Mode & 0o777)
	}
	beside := fmt.Sprintf(".holdfast-%016x", rand.Uint64())
	f, err := dir.root.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return target(err)
	}
	err = c.fill(f, content, size)
	if err == nil {
		err = c.finish(f, dir, beside, p, a)
	}
	err = errors.Join(err, target(f.Close()))
	if err == nil {
		err = target(dir.root.Rename(beside, name))
	}
	if err != nil {
		dir.root.Remove(beside)
		return err
	}
	c.r.Files++
	c.o.progress(c.r)
	c.streams(p)
	return nil
}

// streams notes the alternate streams that a plain copy leaves behind.
func (c *copier) streams(p guestfs.Place) {
	if c.o.AsIs {
		return
	}
	fs, err := p.Volume.FS()
	if err != nil {
		return // that was told when the content was read
	}
	s, ok := fs.(tree.Streamer)
	if !ok {
		return
	}
	all, err := s.Streams(p.Ino)
	if err != nil {
		c.r.problem(p.Path, fmt.Errorf("its alternate streams cannot be listed: %w", err))
	}
	for range all {
		c.r.note("alternate streams were left out: --as-is keeps them, as extended attributes user.NAME")
	}
}

// roomFor tells before anything is read whether a file may appear under that name.
func (c *copier) roomFor(dir *folder, name string) error {
	info, err := dir.root.Lstat(name)
	switch {
	case err != nil:
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	case info.IsDir():
		return errors.New("there is a folder of that name already")
	case !c.o.Replace:
		return fmt.Errorf("it is there already (--force replaces it): %w", errKept)
	}
	return nil
}

// fill writes what a file holds, and leaves holes where it has some, or zeros.
func (c *copier) fill(f *os.File, content tree.File, size int64) error {
	buf := c.r.buffer(size)
	for e, err := range content.Extents() {
		if err != nil {
			return err
		}
		for off, end := e.Off, min(e.Off+e.Len, size); off < end; {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			part := buf[:min(end-off, int64(len(buf)))]
			if err := readAll(content, part, off); err != nil {
				return err
			}
			if err := writeSparse(f, part, off); err != nil {
				return target(err)
			}
			off += int64(len(part))
			c.r.Bytes += int64(len(part))
			c.o.progress(c.r)
		}
	}
	return target(f.Truncate(size))
}

func readAll(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// writeSparse writes all of p that is not zeros.
func writeSparse(f *os.File, p []byte, off int64) error {
	for len(p) > 0 {
		part := p[:min(len(p), len(zeros))]
		if !bytes.Equal(part, zeros[:len(part)]) {
			if _, err := f.WriteAt(part, off); err != nil {
				return err
			}
		}
		p, off = p[len(part):], off+int64(len(part))
	}
	return nil
}
