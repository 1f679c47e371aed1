package guestfs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// FS is a view as an fs.FS, also fs.ReadDirFS, fs.StatFS and fs.ReadLinkFS. Links are
// followed within the view. FileInfo.Sys returns a *tree.Attr.
type FS struct{ w *View }

var (
	_ fs.ReadDirFS  = FS{}
	_ fs.StatFS     = FS{}
	_ fs.ReadLinkFS = FS{}
)

// FS returns the view as an fs.FS.
func (w *View) FS() FS { return FS{w} }

func (f FS) find(op, name string, follow bool) (Place, tree.Attr, error) {
	if !fs.ValidPath(name) {
		return Place{}, tree.Attr{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	p, err := f.w.resolve(name, follow)
	if err != nil {
		return p, tree.Attr{}, err
	}
	a, err := p.Stat()
	return p, a, err
}

// Open opens a file or folder.
func (f FS) Open(name string) (fs.File, error) {
	p, a, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := FileInfo{path.Base(name), a}
	if info.IsDir() {
		return &openDir{info: info, at: p}, nil
	}
	content, size, err := p.Open()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{io.NewSectionReader(content, 0, size), info}, nil
}

// Stat follows links, Lstat does not.
func (f FS) Stat(name string) (fs.FileInfo, error) {
	_, a, err := f.find("stat", name, true)
	if err != nil {
		return nil, err
	}
	return FileInfo{path.Base(name), a}, nil
}

// Lstat is Stat of the link itself.
func (f FS) Lstat(name string) (fs.FileInfo, error) {
	_, a, err := f.find("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return FileInfo{path.Base(name), a}, nil
}

// ReadLink returns the target of a link as it is stored.
func (f FS) ReadLink(name string) (string, error) {
	p, a, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if a.Mode&typeMask != typeLink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return p.Readlink()
}

// ReadDir returns the entries of a folder by name.
func (f FS) ReadDir(name string) ([]fs.DirEntry, error) {
	p, a, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if a.Mode&typeMask != typeDir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("it is no folder")}
	}
	d := &openDir{at: p}
	list, err := d.ReadDir(-1)
	sortEntries(list)
	return list, err
}

// openFile is a regular file that was opened.
type openFile struct {
	*io.SectionReader
	info FileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// FileInfo is metadata as the standard library has it.
type FileInfo struct {
	name string
	attr tree.Attr
}

// Name, Size and the others are those of fs.FileInfo.
func (i FileInfo) Name() string       { return i.name }
func (i FileInfo) Size() int64        { return i.attr.Size }
func (i FileInfo) ModTime() time.Time { return i.attr.Mtime }
func (i FileInfo) IsDir() bool        { return i.Mode().IsDir() }
func (i FileInfo) Sys() any           { return &i.attr }

// Mode translates the bits of stat(2).
func (i FileInfo) Mode() fs.FileMode {
	m := fs.FileMode(i.attr.Mode & 0o777)
	switch i.attr.Mode & typeMask {
	case typeDir:
		m |= fs.ModeDir
	case typeLink:
		m |= fs.ModeSymlink
	case 0o010000:
		m |= fs.ModeNamedPipe
	case 0o140000:
		m |= fs.ModeSocket
	case 0o060000:
		m |= fs.ModeDevice
	case 0o020000:
		m |= fs.ModeDevice | fs.ModeCharDevice
	}
	for bit, mode := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if i.attr.Mode&bit != 0 {
			m |= mode
		}
	}
	return m
}
