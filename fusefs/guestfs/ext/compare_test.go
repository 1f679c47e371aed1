package ext

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

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// facts are all that a restore keeps of one file, as text that can be compared.
type facts map[string]string

// ours reads a whole file system. Every entry is looked up by name, too.
func ours(t testing.TB, v *volume) facts {
	t.Helper()
	all := facts{}
	var walk func(ino uint64, path string)
	walk = func(ino uint64, path string) {
		all[path] = ourFacts(v, ino)
		a, err := v.Stat(ino)
		if err != nil || a.Mode&modeType != modeDir {
			return
		}
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Errorf("%s: entry %q: %v", path, e.Name, err)
				continue
			}
			if found, err := v.Lookup(ino, e.Name); err != nil || found != e.Ino {
				t.Errorf("%s: looking up %q: inode %d, %v; the listing says %d", path, e.Name, found, err, e.Ino)
			}
			if b, err := v.Stat(e.Ino); err == nil && e.Type != 0 && e.Type != b.Mode&modeType {
				t.Errorf("%s/%s: type %o in the folder, %o in the inode", path, e.Name, e.Type, b.Mode)
			}
			walk(e.Ino, path+"/"+e.Name)
		}
		if _, err := v.Lookup(ino, "no such name"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: looking up what is not there: %v", path, err)
		}
	}
	walk(v.Root(), "")
	return all
}

func ourFacts(v *volume, ino uint64) string {
	a, err := v.Stat(ino)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "ino %d mode %o nlink %d owner %d:%d device %d:%d allocated %d", a.Ino, a.Mode, a.Nlink, a.UID, a.GID, a.Major, a.Minor, a.Allocated)
	fmt.Fprintf(&b, "\ntimes %d %d %d", a.Atime.UnixNano(), a.Mtime.UnixNano(), a.Ctime.UnixNano())
	if !a.Btime.IsZero() {
		fmt.Fprintf(&b, " born %d", a.Btime.UnixNano())
	}
	names, err := v.Xattrs(ino)
	if err != nil {
		fmt.Fprintf(&b, "\nxattrs: %v", err)
	}
	for _, name := range names {
		value, err := v.Xattr(ino, name)
		fmt.Fprintf(&b, "\n%s = %x %v", name, sha256.Sum256(value), err)
	}
	switch a.Mode & modeType {
	case modeLink:
		target, err := v.Readlink(ino)
		fmt.Fprintf(&b, "\n-> %q %v", target, err)
	case modeFile:
		fmt.Fprintf(&b, "\nsize %d", a.Size)
		b.WriteString(ourContent(v, ino, a.Size))
	case modeDir:
		fmt.Fprintf(&b, "\nsize %d", a.Size)
	}
	return b.String()
}

func ourContent(v *volume, ino uint64, size int64) string {
	f, err := v.Open(ino)
	if err != nil {
		return err.Error()
	}
	extents := []tree.Extent{}
	for e, err := range f.Extents() {
		if err != nil {
			return err.Error()
		}
		extents = append(extents, e)
	}
	return digest(f, extents, size)
}

// digest is of the data, and, for what is short enough, of the whole of it.
func digest(r io.ReaderAt, extents []tree.Extent, size int64) string {
	h := sha256.New()
	for _, e := range extents {
		fmt.Fprintf(h, "%d+%d", e.Off, e.Len)
		if _, err := io.CopyBuffer(h, io.NewSectionReader(r, e.Off, e.Len), make([]byte, 99_991)); err != nil {
			return err.Error()
		}
	}
	text := fmt.Sprintf("\nextents %v\ndata %x", extents, h.Sum(nil))
	if size < 16<<20 {
		h.Reset()
		if n, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, size), make([]byte, 77_777)); err != nil || n != size {
			return fmt.Sprintf("read %d of %d: %v", n, size, err)
		}
		text += fmt.Sprintf("\nwhole %x", h.Sum(nil))
	}
	return text
}

// theirs reads a mounted file system by the kernel.
func theirs(t testing.TB, root string) facts {
	t.Helper()
	all := facts{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		all[strings.TrimPrefix(path, root)] = theirFacts(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func theirFacts(t testing.TB, path string) string {
	t.Helper()
	var st unix.Statx_t
	mask := unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, mask, &st); err != nil {
		t.Fatal(err)
	}
	nano := func(ts unix.StatxTimestamp) int64 { return ts.Sec*1e9 + int64(ts.Nsec) }
	var b strings.Builder
	fmt.Fprintf(&b, "ino %d mode %o nlink %d owner %d:%d device %d:%d allocated %d", st.Ino, st.Mode, st.Nlink, st.Uid, st.Gid, st.Rdev_major, st.Rdev_minor, st.Blocks*512)
	fmt.Fprintf(&b, "\ntimes %d %d %d", nano(st.Atime), nano(st.Mtime), nano(st.Ctime))
	if st.Mask&unix.STATX_BTIME != 0 && nano(st.Btime) != 0 {
		fmt.Fprintf(&b, " born %d", nano(st.Btime))
	}
	for _, name := range listXattrs(t, path) {
		value := make([]byte, 1<<17)
		n, err := unix.Lgetxattr(path, name, value)
		fmt.Fprintf(&b, "\n%s = %x %v", name, sha256.Sum256(value[:max(n, 0)]), err)
	}
	switch st.Mode & modeType {
	case modeLink:
		target, err := os.Readlink(path)
		fmt.Fprintf(&b, "\n-> %q %v", target, err)
	case modeFile:
		fmt.Fprintf(&b, "\nsize %d", st.Size)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b.WriteString(digest(f, seekExtents(t, f, int64(st.Size)), int64(st.Size)))
	case modeDir:
		fmt.Fprintf(&b, "\nsize %d", st.Size)
	}
	return b.String()
}

func listXattrs(t testing.TB, path string) []string {
	t.Helper()
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	return names
}

func seekExtents(t testing.TB, f *os.File, size int64) []tree.Extent {
	t.Helper()
	extents := []tree.Extent{}
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			t.Fatal(err)
		}
		extents = append(extents, tree.Extent{Off: data, Len: hole - data})
		at = hole
	}
	return extents
}

// same reports the first few files on which two readings differ.
func same(t testing.TB, got, want facts) {
	t.Helper()
	paths := map[string]bool{}
	for path := range maps.Keys(got) {
		paths[path] = true
	}
	for path := range maps.Keys(want) {
		paths[path] = true
	}
	wrong := 0
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if got[path] != want[path] {
			if wrong++; wrong <= 3 {
				t.Errorf("%q:\ngot  %s\nwant %s", path, got[path], want[path])
			}
		}
	}
	if wrong > 3 {
		t.Errorf("%d of %d files differ", wrong, len(paths))
	}
}
