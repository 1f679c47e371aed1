package treetest

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Random returns bytes that are always the same for a number and a seed.
func Random(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), seed}).Read(b)
	return b
}

// What examining a small volume may cost.
const (
	maxEntries  = 50_000
	maxCalls    = 500_000
	maxRead     = 4 << 30
	readOfAFile = 256 << 10
)

type counted struct {
	r            io.ReaderAt
	calls, bytes atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.calls.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.r.ReadAt(p, off)
}

// Examine calls everything that a volume has, whatever it answers, each folder
// once, with 1 MiB of memory, and fails when that is without end. It returns how
// many files there were and how many calls failed. Of extended attributes it also reads the named ones,
// which a volume need not list.
func Examine(t testing.TB, format tree.Format, b []byte, unlisted ...string) (files, failed int) {
	t.Helper()
	c := &counted{r: bytes.NewReader(b)}
	format.Probe(c, int64(len(b)))
	v, err := format.Open(c, int64(len(b)), tree.Options{Memory: 1 << 20})
	if err != nil {
		return 0, 1
	}
	if counter, ok := v.(tree.Counter); ok {
		if _, err := counter.CountUsed(); err != nil {
			failed++
		}
	}
	seen, entries := map[uint64]bool{}, 0
	for queue := []uint64{v.Root()}; len(queue) > 0; queue = queue[1:] {
		ino := queue[0]
		files++
		a, err := v.Stat(ino)
		if err != nil {
			failed++
			continue
		}
		failed += Touch(v, a, unlisted...)
		if a.Mode&unix.S_IFMT != unix.S_IFDIR || seen[ino] {
			continue
		}
		seen[ino] = true
		for e, err := range v.ReadDir(ino) {
			if entries++; entries > maxEntries {
				t.Fatalf("%d entries so far, the last is %q of %d", entries, e.Name, ino)
			}
			if err != nil {
				failed++
				continue
			}
			_, _ = v.Lookup(ino, e.Name)
			queue = append(queue, e.Ino)
		}
	}
	if c.calls.Load() > maxCalls || c.bytes.Load() > maxRead {
		t.Fatalf("%d reads of %d bytes", c.calls.Load(), c.bytes.Load())
	}
	return files, failed
}

// Touch reads some of everything that an inode has, and returns how many calls failed. It may be called from
// several goroutines.
func Touch(v tree.FileSystem, a tree.Attr, unlisted ...string) (failed int) {
	for _, name := range unlisted {
		_, _ = v.Xattr(a.Ino, name)
	}
	if s, ok := v.(tree.Streamer); ok {
		if _, err := s.Streams(a.Ino); err != nil {
			failed++
		}
	}
	names, err := v.Xattrs(a.Ino)
	if err != nil {
		failed++
	}
	for _, name := range names[:min(len(names), 100)] {
		if _, err := v.Xattr(a.Ino, name); err != nil {
			failed++
		}
	}
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		if _, err := v.Readlink(a.Ino); err != nil {
			failed++
		}
	case unix.S_IFREG:
		f, err := v.Open(a.Ino)
		if err != nil {
			return failed + 1
		}
		b := make([]byte, max(min(readOfAFile, a.Size+1), 1))
		for _, at := range []int64{0, a.Size / 2, a.Size - 100} {
			if _, err := f.ReadAt(b, max(at, 0)); err != nil && err != io.EOF {
				failed++
			}
		}
		extents := 0
		for _, err := range f.Extents() {
			if extents++; err != nil || extents > maxEntries {
				return failed + 1
			}
		}
	}
	return failed
}

// Places returns where an image holds something: what is worth changing.
func Places(b []byte) (where []int) {
	for i, c := range b {
		if c != 0 {
			where = append(where, i)
		}
	}
	return where
}

// Mutate returns an image with bytes changed as edits tell, five for each: where
// among the places, what, and whether beside it or near the beginning.
func Mutate(b []byte, where []int, edits []byte) []byte {
	b = bytes.Clone(b)
	for ; len(edits) >= 5; edits = edits[5:] {
		among := len(where)
		if edits[4]&1 != 0 {
			among = min(among, 4000)
		}
		at := where[(int(edits[0])<<16|int(edits[1])<<8|int(edits[2]))%among]
		if edits[4]&2 != 0 {
			at = min(at+int(edits[4]>>2), len(b)-1)
		}
		b[at] = edits[3]
	}
	return b
}

// Mutants examines so many mutants of a volume; their chance is fixed. It returns
// how many were damaged. Mend, which may be nil, sets a mutant's checksums right.
func Mutants(t testing.TB, format tree.Format, b []byte, where []int, n int, mend func([]byte)) (damaged int) {
	t.Helper()
	if _, failed := Examine(t, format, b); failed > 0 {
		t.Fatalf("%d calls failed of a volume that is whole", failed)
	}
	chance := rand.NewChaCha8([32]byte{7})
	for range n {
		edits := make([]byte, 5*(1+chance.Uint64()%20))
		_, _ = chance.Read(edits)
		m := Mutate(b, where, edits)
		if mend != nil {
			mend(m)
		}
		if _, failed := Examine(t, format, m); failed > 0 {
			damaged++
		}
	}
	return damaged
}
