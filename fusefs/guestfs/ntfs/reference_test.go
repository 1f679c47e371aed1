package ntfs

import (
	"crypto/sha256"
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

// facts are what a reading says of one path.
type facts struct {
	kind                uint32
	size                int64
	allocated           int64
	ino                 uint64
	links               uint32
	mtime, atime, ctime int64
	content             string // its hash, or a link's target
	rdev                string
	xattrs              string
}

// reference reads a mounted tree.
func reference(t testing.TB, dir string) map[string]facts {
	t.Helper()
	all := map[string]facts{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		f := facts{kind: st.Mode & unix.S_IFMT, size: st.Size, allocated: st.Blocks * 512, ino: st.Ino, links: uint32(st.Nlink),
			mtime: unix.TimespecToNsec(st.Mtim), atime: unix.TimespecToNsec(st.Atim), ctime: unix.TimespecToNsec(st.Ctim)}
		switch f.kind {
		case unix.S_IFREG:
			if f.content, err = hashFile(path); err != nil {
				return err
			}
		case unix.S_IFLNK:
			f.content, err = os.Readlink(path)
		case unix.S_IFBLK, unix.S_IFCHR:
			f.rdev = fmt.Sprint(unix.Major(st.Rdev), ":", unix.Minor(st.Rdev))
			f.size = 0 // ntfs-3g shows what Interix keeps in it
		}
		if strings.HasSuffix(name, shortAsWell) {
			f.links-- // ntfs-3g counts the short name
		}
		if f.kind != unix.S_IFLNK {
			f.xattrs = referenceXattrs(t, path)
		}
		all[name] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func referenceXattrs(t testing.TB, path string) string {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		t.Fatalf("listxattr %s: %v", path, err)
	}
	var out []string
	for _, name := range strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 }) {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err == unix.E2BIG || err == unix.ERANGE {
			out = append(out, name+"=large")
			continue
		}
		if err != nil {
			t.Fatalf("getxattr %s of %s: %v", name, path, err)
		}
		out = append(out, fmt.Sprintf("%s=%x", name, sha256.Sum256(value[:n])))
	}
	b := make([]byte, 4)
	if n, err := unix.Lgetxattr(path, "system.ntfs_attrib_be", b); err == nil {
		out = append(out, fmt.Sprintf("attrib=%x", b[:n]))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// reading walks a volume as our reader shows it: by ReadDir, Lookup and Stat.
func reading(t testing.TB, v tree.FileSystem) map[string]facts {
	t.Helper()
	all := map[string]facts{}
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		a, err := v.Stat(ino)
		if err != nil {
			t.Fatalf("stat %s: %v", path, err)
		}
		all[path] = factsOf(t, v, a, path)
		if a.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Fatalf("readdir %s: %q: %v", path, e.Name, err)
			}
			found, err := v.Lookup(ino, e.Name)
			if err != nil || found != e.Ino {
				t.Errorf("lookup %s/%s: %x, %v; the folder says %x", path, e.Name, found, err, e.Ino)
			}
			if _, twice := all[path+"/"+e.Name]; twice {
				t.Errorf("%s/%s is listed twice", path, e.Name)
			}
			walk(path+"/"+e.Name, e.Ino)
			if kind := all[path+"/"+e.Name].kind; e.Type != 0 && e.Type != kind {
				t.Errorf("%s/%s: the folder says type %o, stat %o", path, e.Name, e.Type, kind)
			}
		}
	}
	walk("", v.Root())
	return all
}

func factsOf(t testing.TB, v tree.FileSystem, a tree.Attr, path string) facts {
	t.Helper()
	f := facts{kind: a.Mode & unix.S_IFMT, size: a.Size, allocated: a.Allocated, ino: a.Ino & numberMask, links: a.Nlink,
		mtime: a.Mtime.UnixNano(), atime: a.Atime.UnixNano(), ctime: a.Ctime.UnixNano()}
	var err error
	switch f.kind {
	case unix.S_IFREG:
		f.content = hashOf(t, v, a, path)
	case unix.S_IFLNK:
		f.content, err = v.Readlink(a.Ino)
	case unix.S_IFBLK, unix.S_IFCHR:
		f.rdev = fmt.Sprint(a.Major, ":", a.Minor)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if f.kind != unix.S_IFLNK {
		f.xattrs = xattrsOf(t, v, a.Ino)
	}
	return f
}

// hashOf reads a file in odd pieces, and holds its extents to what is zero.
func hashOf(t testing.TB, v tree.FileSystem, a tree.Attr, path string) string {
	t.Helper()
	f, err := v.Open(a.Ino)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	h := sha256.New()
	if n, err := io.CopyBuffer(onlyWriter{h}, io.NewSectionReader(f, 0, a.Size), make([]byte, 100_001)); err != nil || n != a.Size {
		t.Fatalf("%s: read %d of %d bytes: %v", path, n, a.Size, err)
	}
	if n, err := f.ReadAt(make([]byte, 1), a.Size); n != 0 || err != io.EOF {
		t.Errorf("%s: a read at the end gives %d, %v", path, n, err)
	}
	by := sha256.New()
	at, zeros := int64(0), make([]byte, 1<<16)
	hole := func(to int64) {
		for at < to {
			n, _ := by.Write(zeros[:min(to-at, int64(len(zeros)))])
			at += int64(n)
		}
	}
	for e, err := range f.Extents() {
		if err != nil || e.Off < at || e.Len <= 0 || e.Off+e.Len > a.Size {
			t.Fatalf("%s: extent %+v at %d of %d: %v", path, e, at, a.Size, err)
		}
		hole(e.Off)
		if _, err := io.Copy(by, io.NewSectionReader(f, e.Off, e.Len)); err != nil {
			t.Fatal(err)
		}
		at += e.Len
	}
	if hole(a.Size); fmt.Sprintf("%x", by.Sum(nil)) != fmt.Sprintf("%x", h.Sum(nil)) {
		t.Errorf("%s: its extents leave out what is not zero", path)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

type onlyWriter struct{ io.Writer }

func xattrsOf(t testing.TB, v tree.FileSystem, ino uint64) string {
	t.Helper()
	names, err := v.Xattrs(ino)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		value, err := v.Xattr(ino, name)
		var large *tree.UnsupportedError
		if errors.As(err, &large) {
			out = append(out, name+"=large")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s=%x", name, sha256.Sum256(value)))
	}
	if b, err := v.Xattr(ino, "system.ntfs_attrib_be"); err == nil {
		out = append(out, fmt.Sprintf("attrib=%x", b))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// withAllocated passes over what ntfs-3g says that content within a record takes up.
func (f facts) withAllocated(ours int64) facts {
	if ours == 0 && f.allocated <= 1024 || f.kind != unix.S_IFREG {
		f.allocated = ours
	}
	return f
}

// equal compares both readings and returns how many paths there are.
func equal(t testing.TB, want, got map[string]facts) int {
	t.Helper()
	for path, w := range want {
		g, have := got[path]
		switch {
		case !have:
			t.Errorf("%q is missing", path)
		case w.withAllocated(g.allocated) != g:
			t.Errorf("%q:\n got %+v\nwant %+v", path, g, w)
		}
	}
	for path := range got {
		if _, have := want[path]; !have {
			t.Errorf("%q is not in the reference", path)
		}
	}
	return len(want)
}
