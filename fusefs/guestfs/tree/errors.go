package tree

import "fmt"

// CorruptError says that a structure of a file system is not what it must be.
type CorruptError struct {
	What string // the structure: "inode 12", "extent tree of inode 7"
	Why  string
	At   int64 // its offset in the volume, -1 where it has none

	// Short: the volume ends before so many bytes at that offset; 0: that is not what is wrong.
	Short int64
}

func (e *CorruptError) Error() string {
	if e.Short > 0 {
		return fmt.Sprintf("the volume is cut short: it ends before the %d bytes at %d", e.Short, e.At)
	}
	if e.At < 0 {
		return fmt.Sprintf("%s is damaged: %s", e.What, e.Why)
	}
	return fmt.Sprintf("%s (at %d of the volume) is damaged: %s", e.What, e.At, e.Why)
}

// UnsupportedError says that something is as it must be and cannot be shown.
type UnsupportedError struct {
	What string // "inode 12", "the volume"
	Why  string // "its content is encrypted (fscrypt)"
}

func (e *UnsupportedError) Error() string { return e.What + " cannot be read: " + e.Why }
