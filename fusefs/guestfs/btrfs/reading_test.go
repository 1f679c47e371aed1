package btrfs

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

// reading is what is known of each path of a file system, as lines of text.
type reading map[string]string

// describe puts what a reading knows of one file on a line.
func describe(a tree.Attr, target string, sum []byte, xattrs map[string][]byte, holes string) string {
	if a.Ino &= 1<<numberBits - 1; a.Ino == emptyFolder { // Linux makes it up
		a.Atime, a.Mtime, a.Ctime, a.Btime = time.Unix(0, 0), time.Unix(0, 0), time.Unix(0, 0), time.Time{}
	}
	var x strings.Builder
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		fmt.Fprintf(&x, " %s=%x", name, sha256.Sum256(xattrs[name]))
	}
	if len(holes) > 200 {
		holes = fmt.Sprintf("%.100s... (%x)", holes, sha256.Sum256([]byte(holes)))
	}
	return fmt.Sprintf("ino %d mode %o nlink %d owner %d:%d size %d takes %d dev %d:%d a %d m %d c %d b %d -> %q sum %x data %s%s",
		a.Ino, a.Mode, a.Nlink, a.UID, a.GID, a.Size, a.Allocated, a.Major, a.Minor,
		a.Atime.UnixNano(), a.Mtime.UnixNano(), a.Ctime.UnixNano(), nano(a.Btime), target, sum, holes, x.String())
}

func nano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// kernelReads is the reading of a mounted file system.
func kernelReads(t testing.TB, dir string) reading {
	t.Helper()
	all := reading{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		line, err := kernelReadsOne(path)
		all[rel] = line
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func kernelReadsOne(path string) (string, error) {
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
	switch a.Mode & typeMask {
	case typeLink:
		if target, err = os.Readlink(path); err != nil {
			return "", err
		}
	case typeRegular:
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
	x, err := kernelXattrs(path)
	return describe(a, target, sum, x, holes), err
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
		if name == "" {
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

// weRead is the reading of this package. It looks up each name as well.
func weRead(t testing.TB, v tree.FileSystem) reading {
	t.Helper()
	all := reading{}
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		line, a := weReadOne(t, v, path, ino)
		all[path] = line
		if a.Mode&typeMask != typeFolder {
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

func weReadOne(t testing.TB, v tree.FileSystem, path string, ino uint64) (string, tree.Attr) {
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
	switch a.Mode & typeMask {
	case typeLink:
		target, err = v.Readlink(ino)
		must(err)
	case typeRegular:
		f, err := v.Open(ino)
		must(err)
		if err == nil {
			sum, holes = weSum(t, path, f, a.Size)
		}
	}
	x := map[string][]byte{}
	names, err := v.Xattrs(ino)
	must(err)
	for _, name := range names {
		x[name], err = v.Xattr(ino, name)
		must(err)
	}
	return describe(a, target, sum, x, holes), a
}

// weSum hashes a file, reading where it has data alone: the rest must be zeros.
func weSum(t testing.TB, path string, f tree.File, size int64) ([]byte, string) {
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

// same fails the test where two readings differ.
func same(t testing.TB, got, want reading) {
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
