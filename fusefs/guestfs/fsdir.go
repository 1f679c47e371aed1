package guestfs

import (
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// openDir is a folder that was opened; its entries are read as they are asked for.
type openDir struct {
	info FileInfo
	at   Place
	next func() (Child, error, bool)
	stop func()
}

var _ fs.ReadDirFile = (*openDir)(nil)

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.at.Path, Err: fs.ErrInvalid}
}

func (d *openDir) Close() error {
	if d.stop != nil {
		d.stop()
	}
	return nil
}

// ReadDir returns at most n entries, all for n <= 0.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.next == nil {
		d.next, d.stop = iter.Pull2(d.at.Children())
	}
	var list []fs.DirEntry
	for n <= 0 || len(list) < n {
		c, err, ok := d.next()
		if !ok {
			break
		}
		if err != nil && c.Name == "" {
			return list, err
		}
		list = append(list, &dirEntry{child: c, err: err})
	}
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	return list, nil
}

func sortEntries(list []fs.DirEntry) {
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}

// dirEntry is an entry whose metadata is read when it is asked for.
type dirEntry struct {
	child Child
	err   error
}

func (e *dirEntry) Name() string { return e.child.Name }
func (e *dirEntry) IsDir() bool  { return e.Type().IsDir() }

func (e *dirEntry) Type() fs.FileMode {
	if e.child.Type == 0 {
		info, err := e.Info()
		if err != nil {
			return fs.ModeIrregular
		}
		return info.Mode().Type()
	}
	return FileInfo{attr: tree.Attr{Mode: e.child.Type}}.Mode().Type()
}

func (e *dirEntry) Info() (fs.FileInfo, error) {
	if e.err != nil {
		return nil, e.err
	}
	p, err := e.child.Place()
	if err != nil {
		return nil, err
	}
	a, err := p.Stat()
	return FileInfo{e.child.Name, a}, err
}
