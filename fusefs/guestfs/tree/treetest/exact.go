package treetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Lines are what is known of each path of a file system ("." for the root), each
// as a line of text that can be compared, and kept beside a fixture.
type Lines map[string]string

// Exact reads volumes through a reader and through the kernel, so that both say
// everything of a file that stat(2) and statx(2) know: inode numbers, all times, what is allocated,
// where holes lie. [Reading] knows less, and does for file systems that the kernel shows otherwise.
type Exact struct {
	// Normal changes what is known to be shown otherwise, before it is written down; nil: nothing is.
	Normal func(a *tree.Attr)
}

// describe puts what a reading knows of one file on a line.
func (x Exact) describe(a tree.Attr, target string, sum []byte, xattrs map[string][]byte, holes string) string {
	if x.Normal != nil {
		x.Normal(&a)
	}
	var more strings.Builder
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		fmt.Fprintf(&more, " %s=%x", name, sha256.Sum256(xattrs[name]))
	}
	if len(holes) > 200 {
		holes = fmt.Sprintf("%.100s... (%x)", holes, sha256.Sum256([]byte(holes)))
	}
	return fmt.Sprintf("ino %d mode %o nlink %d owner %d:%d size %d takes %d dev %d:%d a %d m %d c %d b %d -> %q sum %x data %s%s",
		a.Ino, a.Mode, a.Nlink, a.UID, a.GID, a.Size, a.Allocated, a.Major, a.Minor,
		a.Atime.UnixNano(), a.Mtime.UnixNano(), a.Ctime.UnixNano(), nano(a.Btime), target, sum, holes, more.String())
}

func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// Kernel is the reading of a mounted file system.
func (x Exact) Kernel(t testing.TB, dir string) Lines {
	t.Helper()
	all := Lines{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		line, err := x.kernelLine(path)
		all[rel] = line
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (x Exact) kernelLine(path string) (string, error) {
	var s unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_ALL, &s); err != nil {
		return "", err
	}
	stamp := func(s unix.StatxTimestamp) time.Time { return time.Unix(s.Sec, int64(s.Nsec)) }
	a := tree.Attr{Ino: s.Ino, Mode: uint32(s.Mode), Nlink: s.Nlink, UID: s.Uid, GID: s.Gid, Size: int64(s.Size), Allocated: int64(s.Blocks) * 512,
		Major: s.Rdev_major, Minor: s.Rdev_minor, Atime: stamp(s.Atime), Mtime: stamp(s.Mtime), Ctime: stamp(s.Ctime)}
	if s.Mask&unix.STATX_BTIME != 0 {
		a.Btime = stamp(s.Btime)
	}
	var target, holes string
	var sum []byte
	var err error
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if target, err = os.Readlink(path); err != nil {
			return "", err
		}
	case unix.S_IFREG:
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		holes = kernelData(f, a.Size) // what was read of a hole may count as data
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
		sum = h.Sum(nil)
	}
	xattrs, err := kernelXattrs(path)
	return x.describe(a, target, sum, xattrs, holes), err
}

// kernelData lists where a file has data.
func kernelData(f *os.File, size int64) string {
	var s strings.Builder
	for off := int64(0); off < size; {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if err != nil {
			break
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			break
		}
		fmt.Fprintf(&s, "[%d,%d)", data, hole)
		off = hole
	}
	return s.String()
}

func kernelXattrs(path string) (map[string][]byte, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.SGI_ACL_") { // the ACL once more, as it is stored
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", name, path, err)
		}
		all[name] = value[:n]
	}
	return all, nil
}

// Ours is the reading of a reader. It looks up each name as well.
func (x Exact) Ours(t testing.TB, v tree.FileSystem) Lines {
	t.Helper()
	all := Lines{}
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		line, a := x.Line(t, v, path, ino)
		all[path] = line
		if a.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Errorf("%s/%s: %v", path, e.Name, err)
				continue
			}
			got, err := v.Lookup(ino, e.Name)
			if err != nil || got != e.Ino {
				t.Errorf("looking up %s/%s finds inode %d, not %d (%v)", path, e.Name, got, e.Ino, err)
			}
			if path == "." {
				walk(e.Name, e.Ino)
			} else {
				walk(path+"/"+e.Name, e.Ino)
			}
		}
		if _, err := v.Lookup(ino, "no such name, ever"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: looking up what is not there: %v", path, err)
		}
	}
	walk(".", v.Root())
	return all
}

// Line is what a reader says of one inode.
func (x Exact) Line(t testing.TB, v tree.FileSystem, path string, ino uint64) (string, tree.Attr) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	a, err := v.Stat(ino)
	must(err)
	var target, holes string
	var sum []byte
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		target, err = v.Readlink(ino)
		must(err)
	case unix.S_IFREG:
		f, err := v.Open(ino)
		must(err)
		if err == nil {
			sum, holes = Sum(t, path, f, a.Size)
		}
	}
	xattrs := map[string][]byte{}
	names, err := v.Xattrs(ino)
	must(err)
	for _, name := range names {
		xattrs[name], err = v.Xattr(ino, name)
		must(err)
	}
	return x.describe(a, target, sum, xattrs, holes), a
}

// Sum hashes a file, reading where it has data alone: the rest must be zeros.
func Sum(t testing.TB, path string, f tree.File, size int64) (sum []byte, data string) {
	t.Helper()
	h := sha256.New()
	if n, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<62)); err != nil || n != size {
		t.Errorf("%s: read %d of %d bytes: %v", path, n, size, err)
	}
	again, zeros := sha256.New(), make([]byte, 1<<16)
	fill := func(n int64) { // of a hole
		for n > 0 {
			k, _ := again.Write(zeros[:min(n, int64(len(zeros)))])
			n -= int64(k)
		}
	}
	var s strings.Builder
	end := int64(0)
	for e, err := range f.Extents() {
		if err != nil || e.Len <= 0 || e.Off < end || e.Off+e.Len > size {
			t.Errorf("%s: extent %v after %d: %v", path, e, end, err)
			break
		}
		fill(e.Off - end)
		if n, err := io.Copy(again, io.NewSectionReader(f, e.Off, e.Len)); err != nil || n != e.Len {
			t.Errorf("%s: extent %v gives %d bytes: %v", path, e, n, err)
		}
		end = e.Off + e.Len
		fmt.Fprintf(&s, "[%d,%d)", e.Off, end)
	}
	fill(size - end)
	if !bytes.Equal(h.Sum(nil), again.Sum(nil)) {
		t.Errorf("%s: its extents do not give what it holds", path)
	}
	return h.Sum(nil), s.String()
}

// SameLines fails the test where two readings differ.
func SameLines(t testing.TB, got, want Lines) {
	t.Helper()
	shown := 0
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			if shown++; shown <= 5 {
				t.Errorf("%.100q\n got %s\nwant %s", path, got[path], want[path])
			}
		}
	}
	for path, line := range got {
		if _, ok := want[path]; !ok {
			if shown++; shown <= 5 {
				t.Errorf("%.100q should not be there\n got %s", path, line)
			}
		}
	}
	if shown > 0 {
		t.Errorf("%d of %d paths differ", shown, len(want))
	}
}
