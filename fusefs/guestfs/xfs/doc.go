// Package xfs reads XFS, versions 4 and 5, in memory-safe user space: every kind
// of directory, attribute, symbolic link and extent map that Linux writes, and
// the log that a running guest leaves behind.
//
// [Format] opens a volume and returns a tree.FileSystem. What is read is
// checked: on version 5 the CRC, the address and the file system's id of every
// block of metadata and of every inode; on both versions every count, offset
// and depth. A structure that fails is a tree.CorruptError of the call that met
// it. Memory stays within tree.Options.Memory, whatever the volume holds.
//
// A log that was not closed is replayed into an [io.ReaderAt] laid over the
// volume (overlay), in two passes that hold one record and the open transactions
// at a time. Changes of file maps that the log only promises (an unfinished
// mapping after copy on write, an exchange of two files' contents) are finished
// in memory as well; promises about free space do not matter to a reader.
//
// Three parts: the volume and its superblock (super.go, volume.go), what an inode
// holds (inode.go, fork.go, dir*.go, attr*.go, symlink.go), the log (log*.go,
// replay*.go). Offsets are those of the published "XFS Algorithms & Data
// Structures" (kernel.org) and, for what is younger, of Linux's definition of the
// format; integers are big endian on disk but for CRCs and the items of the log.
//
// Left out, and said so where it is met: files on a realtime device, a log on a
// device of its own, version 1 directories, and logs written by big-endian
// machines.
package xfs
