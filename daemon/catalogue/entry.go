package catalogue

import (
	"bytes"
	"strings"
	"time"
)

// Entry is one name of one tree.
type Entry struct {
	Key  []byte // see the package; valid until the next entry is read
	Gone bool   // it is not in the point, and was in what the catalogue builds on
	Attr
}

// Attr is what is listed of a file.
type Attr struct {
	Mode     uint32 // type and permissions as stat(2) has them
	UID, GID uint32
	Size     int64 // bytes
	Timed    bool  // it has a time of last change:
	Sec      int64 // since 1970
	Nsec     uint32
	Ino      uint64
}

// Modified is when the file was last changed; zero: its file system does not tell.
func (a Attr) Modified() time.Time {
	if !a.Timed {
		return time.Time{}
	}
	return time.Unix(a.Sec, int64(a.Nsec)).UTC()
}

const typeMask = 0o170000

// sameVersion tells whether two listings are of one version of a file: its type, size and
// time are the same.
func (a Attr) sameVersion(b Attr) bool {
	return a.Mode&typeMask == b.Mode&typeMask && a.Size == b.Size && a.Timed == b.Timed && a.Sec == b.Sec && a.Nsec == b.Nsec
}

// appendKey appends the key of an absolute path of a tree.
func appendKey(key []byte, tree, path string) []byte {
	key = append(key, tree...)
	if path == "/" || path == "" {
		return key
	}
	at := len(key)
	key = append(key, path...)
	for i := at; i < len(key); i++ {
		if key[i] == '/' {
			key[i] = 0
		}
	}
	return key
}

// splitKey returns the tree and the absolute path that a key stands for.
func splitKey(key []byte) (tree, path string) {
	at := bytes.IndexByte(key, 0)
	if at < 0 {
		return string(key), "/"
	}
	return string(key[:at]), strings.ReplaceAll(string(key[at:]), "\x00", "/")
}

// baseName is the last name of a key; that of a tree's root is empty.
func baseName(key []byte) []byte {
	at := bytes.LastIndexByte(key, 0)
	if at < 0 {
		return nil
	}
	return key[at+1:]
}

// below tells whether key is top or something below it.
func below(key, top []byte) bool {
	return bytes.HasPrefix(key, top) && (len(key) == len(top) || key[len(top)] == 0)
}
