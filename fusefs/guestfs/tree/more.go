package tree

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
