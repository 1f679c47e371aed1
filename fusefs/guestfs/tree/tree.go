package tree

import (
	"io"
	"iter"
	"time"
)

// Format is one kind of file system, or a few that one reader reads.
type Format struct {
	// Name is how people call it: "ext2/3/4", "XFS".
	Name string

	// Probe reports whether a volume of so many bytes looks like this file
	// system. It reads little, and a volume that cannot be read there is not one.
	Probe func(r io.ReaderAt, size int64) bool

	// Open reads what is needed to answer for the root, and replays a journal in
	// memory. The reader must stay valid for as long as the FileSystem is used;
	// it is never written to, and read from several goroutines.
	Open func(r io.ReaderAt, size int64, o Options) (FileSystem, error)

	// Member and OpenSet are nil unless the file system can lie on several volumes.
	// Member reads which it is part of; Open opens one by itself, as far as that goes.
	Member func(r io.ReaderAt, size int64) (Member, error)

	// OpenSet opens the parts of one file system, in any order; some may be missing.
	OpenSet func(parts []Part, o Options) (FileSystem, error)
}

// Options hold for one volume. The zero value has defaults.
type Options struct {
	// Memory is how many bytes a reader may keep for the volume, its replayed
	// journal and its caches included: 64 MiB if it is zero. A journal that does
	// not fit is not replayed, and Info says so.
	Memory int64

	// CodePage decodes names that are kept in one (FAT's short ones): an IANA
	// name, "IBM437" if it is empty.
	CodePage string
}

// FileSystem is an open volume. Its methods may be called from several
// goroutines. Inode numbers are those of the guest where it has some, else
// computed from where the entry lies; they stay the same for the same volume.
type FileSystem interface {
	Info() Info

	// Root is the inode number of the root folder.
	Root() uint64

	// Stat returns fs.ErrNotExist when the inode is not in use.
	Stat(ino uint64) (Attr, error)

	// Lookup finds a name in a folder: fs.ErrNotExist when it is not there. It
	// follows the file system's own rule about upper and lower case.
	Lookup(dir uint64, name string) (uint64, error)

	// ReadDir yields the entries of a folder, without "." and "..", each once,
	// in the order in which they lie, reading as it goes. An error is the last
	// that it yields, unless it concerns one entry only: then the Entry has its
	// name, and reading goes on.
	ReadDir(dir uint64) iter.Seq2[Entry, error]

	// Open returns the content of a regular file, Attr.Size bytes long; holes
	// read as zeros. A read past the end returns what is there and io.EOF.
	Open(ino uint64) (File, error)

	// Readlink returns the target of a symbolic link as it is stored.
	Readlink(ino uint64) (string, error)

	// Xattrs returns the names of the extended attributes with their prefixes
	// (user., trusted., security., system.posix_acl_access), sorted. Xattr
	// returns the value of one as getxattr(2) would (an ACL in the form of
	// Linux's system.posix_acl_* attributes): fs.ErrNotExist when there is none.
	Xattrs(ino uint64) ([]string, error)
	Xattr(ino uint64, name string) ([]byte, error)
}

// File is the content of one regular file. It may be read from several
// goroutines, and needs no closing.
type File interface {
	io.ReaderAt

	// Extents yields the parts that hold data, ascending, not overlapping, within
	// the file's size; everything else is a hole. An inline or compressed file is
	// one extent.
	Extents() iter.Seq2[Extent, error]
}

// Extent is a part of a file in bytes.
type Extent struct{ Off, Len int64 }

// Entry is a name in a folder.
type Entry struct {
	// Name is as the file system stores it, in UTF-8 where it says what its
	// encoding is; else bytes. It is never empty, "." or "..", and holds neither
	// '/' nor NUL: a reader that meets such a name yields an error with it.
	Name string
	Ino  uint64
	Type uint32 // the S_IFMT bits of the mode, 0 where the folder does not tell
}

// Attr is the metadata of an inode.
type Attr struct {
	Ino          uint64
	Mode         uint32 // type and permissions as stat(2) has them
	Nlink        uint32
	UID, GID     uint32
	Size         int64  // bytes; of a symbolic link the length of its target
	Allocated    int64  // bytes that it takes up on the volume
	Major, Minor uint32 // of a device
	// Times are zero where the file system does not keep them. FAT keeps local
	// times: they are taken for UTC.
	Atime, Mtime, Ctime, Btime time.Time
}

// Info says what a volume is.
type Info struct {
	Type        string // as mount(8) calls it: ext4, xfs, ntfs, vfat
	Label, UUID string // UUID as blkid(8) prints it
	Size, Used  int64  // bytes; Used is -1 where nobody counted
	BlockSize   int
	Journal     Journal
	// FoldsCase: names differ by more than upper and lower case.
	FoldsCase bool
	// Notes are what a person who restores from it should know: that it had
	// errors, that features were passed over, why the journal was not replayed.
	Notes []string
}

// Journal is what became of what the guest had written ahead.
type Journal string

const (
	NoJournal   Journal = "none"         // the file system keeps none
	Clean       Journal = "clean"        // nothing was waiting in it
	Replayed    Journal = "replayed"     // shown as after a mount by the guest
	NotReplayed Journal = "not replayed" // shown as of the last checkpoint; Notes say why
)
