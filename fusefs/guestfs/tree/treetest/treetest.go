// Package treetest is for tests of the readers of fusefs/guestfs, and of what stands above them.
//
// For these there is [FS], a file system in memory that can hold whatever a hostile volume can. For the readers
// there are images ([Sparse], [OpenImage]), the official tools ([Run], [Mount]), comparisons with what others read
// ([Reading], [Exact], [Placed]), and damage ([Mutants], [Examine]).
package treetest

import (
	"encoding/binary"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Node is an inode. Its fields may be changed before the tree is read.
type Node struct {
	tree.Attr
	Content []byte // of a file, or the target of a symbolic link
	Holes   []tree.Extent
	Entries []tree.Entry
	Xattrs  map[string][]byte
	Streams []tree.Stream // that it says to have; of zeros
	Err     error         // of whatever is asked of it
}

// FS is a tree of nodes. Paths of its methods have no leading slash.
type FS struct {
	About  tree.Info
	Nodes  map[uint64]*Node
	Opened atomic.Int64 // how often its volume was opened
	next   uint64
}

// Time is that of all nodes.
var Time = time.Date(2026, 11, 1, 2, 3, 4, 567890123, time.UTC)

// New returns a tree with an empty root.
func New(kind string) *FS {
	f := &FS{About: tree.Info{Type: kind, BlockSize: 4096, Used: -1, Journal: tree.Clean}, Nodes: map[uint64]*Node{}, next: 2}
	f.node(0o40755)
	return f
}

func (f *FS) node(mode uint32) *Node {
	n := &Node{Attr: tree.Attr{Ino: f.next, Mode: mode, Nlink: 1, Atime: Time, Mtime: Time, Ctime: Time}}
	f.Nodes[f.next] = n
	f.next++
	return n
}

// At returns the node at a path; folders on the way are made.
func (f *FS) At(name string) *Node {
	n := f.Nodes[2]
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." {
			continue
		}
		i := slices.IndexFunc(n.Entries, func(e tree.Entry) bool { return e.Name == part })
		if i < 0 {
			child := f.node(0o40755)
			n.Entries = append(n.Entries, tree.Entry{Name: part, Ino: child.Ino, Type: 0o40000})
			n = child
			continue
		}
		n = f.Nodes[n.Entries[i].Ino]
	}
	return n
}

// Add makes a node of that type and permissions, and the folders above it.
func (f *FS) Add(name string, mode uint32, content string) *Node {
	n := f.node(mode)
	n.Content, n.Size, n.Allocated = []byte(content), int64(len(content)), int64(len(content))
	f.Link(name, n)
	return n
}

// File adds a regular file, Symlink a symbolic link.
func (f *FS) File(name, content string) *Node   { return f.Add(name, 0o100644, content) }
func (f *FS) Symlink(name, target string) *Node { return f.Add(name, 0o120777, target) }

// Link gives a node one more name, whatever that does to the tree.
func (f *FS) Link(name string, n *Node) {
	dir := f.At(path.Dir(name))
	dir.Entries = append(dir.Entries, tree.Entry{Name: path.Base(name), Ino: n.Ino, Type: n.Mode & 0o170000})
}

// Set is what a format of these trees opens: images that name one of them.
type Set struct{ trees []*FS }

const magic = "TREETEST"

// Image returns the bytes of a volume that holds f.
func (s *Set) Image(f *FS, size int) []byte {
	b := make([]byte, size)
	copy(b, magic)
	binary.LittleEndian.PutUint64(b[8:], uint64(len(s.trees)))
	s.trees = append(s.trees, f)
	f.About.Size = int64(size)
	return b
}

// Format opens the images of s.
func (s *Set) Format() tree.Format {
	read := func(r io.ReaderAt) (*FS, bool) {
		b := make([]byte, 16)
		if n, _ := r.ReadAt(b, 0); n < 16 || string(b[:8]) != magic {
			return nil, false
		}
		return s.trees[binary.LittleEndian.Uint64(b[8:])], true
	}
	return tree.Format{
		Name:  "trees of tests",
		Probe: func(r io.ReaderAt, _ int64) bool { _, ok := read(r); return ok },
		Open: func(r io.ReaderAt, _ int64, _ tree.Options) (tree.FileSystem, error) {
			f, ok := read(r)
			if !ok {
				return nil, &tree.CorruptError{What: "the volume", Why: "it is not one of tests", At: 0}
			}
			f.Opened.Add(1)
			return f, nil
		},
	}
}

// Info, Root and the others are those of tree.FileSystem.
func (f *FS) Info() tree.Info { return f.About }

func (f *FS) Root() uint64 { return 2 }

func (f *FS) get(ino uint64) (*Node, error) {
	n := f.Nodes[ino]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return n, n.Err
}

func (f *FS) Stat(ino uint64) (tree.Attr, error) {
	n, err := f.get(ino)
	if err != nil {
		return tree.Attr{}, err
	}
	return n.Attr, nil
}

func (f *FS) Lookup(dir uint64, name string) (uint64, error) {
	n, err := f.get(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range n.Entries {
		if e.Name == name || f.About.FoldsCase && strings.EqualFold(e.Name, name) {
			return e.Ino, nil
		}
	}
	return 0, fs.ErrNotExist
}

func (f *FS) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		n, err := f.get(dir)
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		for _, e := range n.Entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (f *FS) Open(ino uint64) (tree.File, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	return file{n}, nil
}

func (f *FS) Readlink(ino uint64) (string, error) {
	n, err := f.get(ino)
	if err != nil {
		return "", err
	}
	return string(n.Content), nil
}

func (f *FS) Xattrs(ino uint64) ([]string, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(n.Xattrs)), nil
}

func (f *FS) Xattr(ino uint64, name string) ([]byte, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	v, ok := n.Xattrs[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return v, nil
}

// file is the content of a node. Holes are parts of it that are said to hold nothing.
type file struct{ n *Node }

func (f file) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.n.Content)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.Content[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f file) Extents() iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		at := int64(0)
		for _, h := range append(f.n.Holes, tree.Extent{Off: f.n.Size}) {
			if h.Off > at && !yield(tree.Extent{Off: at, Len: h.Off - at}, nil) {
				return
			}
			at = h.Off + h.Len
		}
	}
}

// Streams returns those of a node.
func (f *FS) Streams(ino uint64) ([]tree.Stream, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	return n.Streams, nil
}

// OpenStream opens one.
func (f *FS) OpenStream(ino uint64, name string) (tree.File, error) {
	n, err := f.get(ino)
	if err != nil {
		return nil, err
	}
	for _, s := range n.Streams {
		if s.Name == name {
			return file{&Node{Attr: tree.Attr{Size: s.Size}, Content: make([]byte, s.Size)}}, nil
		}
	}
	return nil, fs.ErrNotExist
}
