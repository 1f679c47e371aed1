package api

import (
	"context"
	"io"
	"net/url"
	"strings"
)

// Files are what can be asked of the files of guests, as they were at points: the daemon does it for
// its clients, and [Client] asks a daemon. It takes the permission to read contents.
type Files interface {
	// GuestVolumes lists what lies on the disks of a point.
	GuestVolumes(ctx context.Context, at GuestAt) (GuestVolumes, error)
	// GuestFolder lists a folder, a page at a time.
	GuestFolder(ctx context.Context, at GuestAt, page FolderPage) (GuestFolder, error)
	// GuestFile describes one file or folder.
	GuestFile(ctx context.Context, at GuestAt) (GuestFile, error)
	// UnlockGuest opens encrypted volumes for the caller alone, until they were not used for some minutes.
	UnlockGuest(ctx context.Context, at GuestAt, keys GuestKeys) (GuestVolumes, error)
	// LockGuest ends that.
	LockGuest(ctx context.Context, at GuestAt) error
}

// GuestKeys open encrypted volumes of a guest.
type GuestKeys struct {
	Passphrases []string `json:"passphrases,omitempty"`
	KeyFiles    []string `json:"key_files,omitempty"` // their bytes, in base64
}

// String keeps them out of texts.
func (GuestKeys) String() string { return "(keys)" }

// GoString is for %#v.
func (GuestKeys) GoString() string { return "(keys)" }

// Formats of archives.
const (
	Tar       = "tar"
	SparseTar = "sparse-tar" // without the holes of files, as GNU tar writes it
	Zip       = "zip"
)

// GuestContent is the content of a file while it is open.
type GuestContent struct {
	Point string // its id
	File  GuestFile
	Size  int64  // bytes; of a stream another than File's
	Tag   string // another for every other content
	io.ReaderAt
}

// GuestArchive is an archive of files of a guest while it is made.
type GuestArchive struct {
	Point  string // its id
	Folder GuestFile
	Format string
	io.Reader
	Failed func() int64 // how many paths were not taken; known when all was read
}

// GuestAt is a place in a guest.
type GuestAt struct {
	Vault string
	PointRef
	Volume   string // by its name; "": the guest's root, put together from its fstab
	Path     string // the guest's bytes; "": the top. Links are followed within the guest
	NoFollow bool   // where the last name is a link, the link itself is meant
}

// FolderPage says which entries of a folder are asked for.
type FolderPage struct {
	After string // Next of the page before; "": the first
	Limit int    // at most so many entries; 0: 1000
}

// GuestFolder is a page of a folder. Its entries are sorted by the bytes of their names.
type GuestFolder struct {
	Point   string      `json:"point"`  // its id, whatever it was asked for as
	Folder  GuestFile   `json:"folder"` // itself
	Entries []GuestFile `json:"entries"`
	Next    string      `json:"next,omitempty"`    // what to ask the next page with; missing: this is the last
	Error   string      `json:"error,omitempty"`   // why the folder could not be read to its end
	Damaged bool        `json:"damaged,omitempty"` // that was damage
}

// GuestStream is one of the further contents that a file of NTFS can have.
type GuestStream struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// EscapePath writes a path of a guest for a query, byte by byte, so that every name that a guest
// can have is told apart from all others.
func EscapePath(path string) string {
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(path))
}
