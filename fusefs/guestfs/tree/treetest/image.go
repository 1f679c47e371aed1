package treetest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Sparse makes an image of so many bytes, all zeros.
func Sparse(t testing.TB, path string, size int64) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
}

// Copy copies an image with its holes.
func Copy(t testing.TB, from, to string) string {
	t.Helper()
	Run(t, "cp", "--sparse=always", from, to)
	return to
}

// Load reads an image.
func Load(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Image opens an image until the test ends.
func Image(t testing.TB, path string) (r io.ReaderAt, size int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, info.Size()
}

// Open opens a volume, which must be recognized.
func Open(t testing.TB, format tree.Format, r io.ReaderAt, size int64, o tree.Options) tree.FileSystem {
	t.Helper()
	if !format.Probe(r, size) {
		t.Fatalf("it is not taken for %s", format.Name)
	}
	v, err := format.Open(r, size, o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// OpenBytes opens a volume in memory.
func OpenBytes(t testing.TB, format tree.Format, b []byte, o tree.Options) tree.FileSystem {
	t.Helper()
	return Open(t, format, bytes.NewReader(b), int64(len(b)), o)
}

// OpenImage opens the volume in an image.
func OpenImage(t testing.TB, format tree.Format, path string, o tree.Options) tree.FileSystem {
	t.Helper()
	r, size := Image(t, path)
	return Open(t, format, r, size, o)
}

// Find returns the inode at a path of these names, which must be there.
func Find(t testing.TB, v tree.FileSystem, names ...string) uint64 {
	t.Helper()
	ino := v.Root()
	for _, name := range names {
		var err error
		if ino, err = v.Lookup(ino, name); err != nil {
			t.Fatal(err)
		}
	}
	return ino
}

// Content reads a file.
func Content(v tree.FileSystem, ino uint64) ([]byte, error) {
	a, err := v.Stat(ino)
	if err != nil {
		return nil, err
	}
	f, err := v.Open(ino)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(f, 0, a.Size))
}

// IsDamage reports whether an error is of a damaged structure, and says where it lies.
func IsDamage(err error) bool {
	var corrupt *tree.CorruptError
	return errors.As(err, &corrupt) && corrupt.At >= 0
}
