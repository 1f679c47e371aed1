package treetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Fact is what a reading says of one path. Facts are compared with ==.
type Fact struct {
	Mode, Nlink, UID, GID, Major, Minor uint32

	Size    int64
	Mtime   int64 // nanoseconds of 1970
	Link    string
	Content string // its SHA-256
	Xattrs  string // names and values
}

// Reading reads all of a volume through a reader: by path, "/" for the root. It
// holds Stat, ReadDir, Lookup and Open against each other.
func Reading(t testing.TB, v tree.FileSystem) map[string]Fact {
	t.Helper()
	all := map[string]Fact{}
	var walk func(path string, ino uint64, above []uint64)
	walk = func(path string, ino uint64, above []uint64) {
		if slices.Contains(above, ino) {
			t.Fatalf("%s leads back to a folder above it", path)
		}
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Fatalf("readdir %s: %q: %v", path, e.Name, err)
			}
			name := path + "/" + e.Name
			if _, have := all[name]; have {
				t.Errorf("%s is there twice", name)
			}
			f, a := factOf(t, v, name, e.Ino)
			all[name] = f
			if found, err := v.Lookup(ino, e.Name); err != nil || found != e.Ino {
				t.Errorf("lookup %s: %d, %v; the folder says %d", name, found, err, e.Ino)
			}
			if e.Type != 0 && a.Mode&unix.S_IFMT != e.Type {
				t.Errorf("%s: the folder says type %o, stat %o", name, e.Type, a.Mode)
			}
			if a.Mode&unix.S_IFMT == unix.S_IFDIR {
				walk(name, e.Ino, append(above, ino))
			}
		}
		if _, err := v.Lookup(ino, "no such name"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a name that %s does not have: %v", path, err)
		}
	}
	all["/"], _ = factOf(t, v, "/", v.Root())
	walk("", v.Root(), nil)
	return all
}

func factOf(t testing.TB, v tree.FileSystem, name string, ino uint64) (Fact, tree.Attr) {
	t.Helper()
	a, err := v.Stat(ino)
	if err != nil || a.Ino != ino {
		t.Fatalf("stat %s: inode %d of %d: %v", name, a.Ino, ino, err)
	}
	f := Fact{Mode: a.Mode, Nlink: a.Nlink, UID: a.UID, GID: a.GID, Major: a.Major, Minor: a.Minor, Mtime: a.Mtime.UnixNano()}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Size, f.Content = a.Size, contentOf(t, v, a, name)
	case unix.S_IFLNK:
		if f.Link, err = v.Readlink(ino); err != nil || a.Size != int64(len(f.Link)) {
			t.Errorf("readlink %s: %q, size %d: %v", name, f.Link, a.Size, err)
		}
		f.Size = a.Size
	}
	names, err := v.Xattrs(ino)
	if err != nil || !slices.IsSorted(names) {
		t.Errorf("xattrs of %s: %q, %v", name, names, err)
	}
	for _, n := range names {
		value, err := v.Xattr(ino, n)
		if err != nil {
			t.Errorf("xattr %s of %s: %v", n, name, err)
		}
		f.Xattrs += fmt.Sprintf("%s=%x;", n, sha256.Sum256(value))
	}
	return f, a
}

func contentOf(t testing.TB, v tree.FileSystem, a tree.Attr, name string) string {
	t.Helper()
	f, err := v.Open(a.Ino)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, io.NewSectionReader(f, 0, a.Size), make([]byte, 70_001))
	if err != nil || n != a.Size {
		t.Fatalf("%s: read %d of %d bytes: %v", name, n, a.Size, err)
	}
	if n, err := f.ReadAt(make([]byte, 1), a.Size); n != 0 || err != io.EOF {
		t.Errorf("%s: a read at the end gives %d, %v", name, n, err)
	}
	end := int64(0)
	for e, err := range f.Extents() {
		if err != nil || e.Off < end || e.Len <= 0 || e.Off+e.Len > a.Size {
			t.Errorf("%s: extent %+v after %d of %d bytes: %v", name, e, end, a.Size, err)
			break
		}
		holdsZeros(t, f, name, end, e.Off)
		end = e.Off + e.Len
	}
	holdsZeros(t, f, name, end, a.Size)
	return hex.EncodeToString(h.Sum(nil))
}

func holdsZeros(t testing.TB, f tree.File, name string, from, to int64) {
	t.Helper()
	b := make([]byte, min(64<<10, to-from))
	if len(b) == 0 {
		return
	}
	if _, err := f.ReadAt(b, to-int64(len(b))); err != nil && err != io.EOF {
		t.Errorf("%s: hole %d to %d: %v", name, from, to, err)
	}
	for _, c := range b {
		if c != 0 {
			t.Errorf("%s: the hole from %d to %d holds something", name, from, to)
			return
		}
	}
}

// Directory reads what a kernel shows of a tree, in the same way.
func Directory(t testing.TB, dir string) map[string]Fact {
	t.Helper()
	all := map[string]Fact{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		f := Fact{Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Mtime: st.Mtim.Nano()}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			f.Size, f.Content = st.Size, fmt.Sprintf("%x", sha256.Sum256(b))
		case unix.S_IFLNK:
			if f.Link, err = os.Readlink(path); err != nil {
				return err
			}
			f.Size = int64(len(f.Link))
		case unix.S_IFCHR, unix.S_IFBLK:
			f.Major, f.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		}
		f.Xattrs, err = xattrsOf(path)
		all["/"+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/")] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func xattrsOf(path string) (string, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	names := strings.FieldsFunc(string(b[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	out, value := "", make([]byte, 64<<10)
	for _, name := range names {
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return "", err
		}
		out += fmt.Sprintf("%s=%x;", name, sha256.Sum256(value[:n]))
	}
	return out, nil
}

// Same fails where two readings differ; forget takes out of the facts what one of
// the two cannot know.
func Same(t testing.TB, want, got map[string]Fact, forget func(path string, f *Fact)) {
	t.Helper()
	for path, w := range want {
		g, have := got[path]
		if !have {
			t.Errorf("%q is missing", path)
			continue
		}
		forget(path, &w)
		forget(path, &g)
		if g != w {
			t.Errorf("%q:\n got %+v\nwant %+v", path, g, w)
		}
	}
	for path := range got {
		if _, have := want[path]; !have {
			t.Errorf("%q should not be there", path)
		}
	}
}
