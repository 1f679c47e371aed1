package tree

import "io"

// Streamer is a FileSystem whose files and folders can have more than one
// content: NTFS's alternate data streams. Xattr gives the small ones as well.
type Streamer interface {
	// Streams returns the additional contents of an inode, sorted by name.
	Streams(ino uint64) ([]Stream, error)

	// OpenStream opens one: fs.ErrNotExist when there is none of that name.
	OpenStream(ino uint64, name string) (File, error)
}

// Stream is one additional content.
type Stream struct {
	Name string
	Size int64 // bytes
}

// Counter is a FileSystem whose Info leaves Used at -1 where counting means
// reading much (a bitmap of the whole volume).
type Counter interface {
	// CountUsed returns how many bytes of the volume are in use.
	CountUsed() (int64, error)
}

// Part is one volume of a file system that lies on several.
type Part struct {
	R    io.ReaderAt
	Size int64 // bytes
}

// Member is what a volume says of the file system that it is part of.
type Member struct {
	Set    string // the same for all parts: the UUID of the file system
	Device uint64 // its number among them
	Of     int    // how many there are
}

// Subvolumer is a FileSystem that holds several trees of files, each at its place
// below Root.
type Subvolumer interface {
	// Subvolumes are all of them, the top level first. One whose place cannot be
	// found is left out.
	Subvolumes() ([]Subvolume, error)
}

// Subvolume is one tree of a file system.
type Subvolume struct {
	ID       uint64
	Path     string // below Root, without a leading slash; "" of the top level
	Root     uint64 // the inode of its root folder
	Default  bool   // what mount(8) shows where none is named
	ReadOnly bool
	Snapshot bool // it began as a copy of another
}
