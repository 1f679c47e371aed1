package treetest

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Placed puts the content of every file that knows its places together from the bytes
// of the volume there, and compares that with what is read. It returns how many files
// lie there as a whole.
func Placed(t testing.TB, v tree.FileSystem, volume io.ReaderAt) int {
	t.Helper()
	whole := 0
	var walk func(path string, ino uint64)
	walk = func(path string, ino uint64) {
		for e, err := range v.ReadDir(ino) {
			if err != nil {
				t.Fatalf("readdir %s: %v", path, err)
			}
			a, err := v.Stat(e.Ino)
			if err != nil {
				t.Fatalf("stat %s/%s: %v", path, e.Name, err)
			}
			switch a.Mode & unix.S_IFMT {
			case unix.S_IFDIR:
				walk(path+"/"+e.Name, e.Ino)
			case unix.S_IFREG:
				if placedFile(t, v, volume, path+"/"+e.Name, a) {
					whole++
				}
			}
		}
	}
	walk("", v.Root())
	return whole
}

func placedFile(t testing.TB, v tree.FileSystem, volume io.ReaderAt, name string, a tree.Attr) bool {
	t.Helper()
	f, err := v.Open(a.Ino)
	if err != nil {
		return false // of no matter here
	}
	placed, ok := f.(tree.Placed)
	if !ok || a.Size > 64<<20 {
		return false
	}
	want, got := make([]byte, a.Size), make([]byte, a.Size)
	if n, err := f.ReadAt(want, 0); n < len(want) {
		t.Errorf("%s: read %d of %d bytes: %v", name, n, len(want), err)
		return false
	}
	end, whole := int64(0), a.Size > 0
	for p, err := range placed.Places() {
		if err != nil || p.Off < end || p.Len <= 0 || p.Off+p.Len > a.Size {
			t.Errorf("%s: piece %+v after %d of %d bytes: %v", name, p, end, a.Size, err)
			return false
		}
		end = p.Off + p.Len
		if p.At < 0 {
			copy(got[p.Off:end], want[p.Off:end])
			whole = false
			continue
		}
		if n, err := volume.ReadAt(got[p.Off:end], p.At); int64(n) < p.Len {
			t.Errorf("%s: piece %+v: %v", name, p, err)
			return false
		}
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s: what lies at its places is not its content", name)
	}
	return whole
}
