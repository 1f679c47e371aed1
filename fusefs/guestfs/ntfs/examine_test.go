package ntfs

import (
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// counted counts what is read of a volume.
type counted struct {
	r            io.ReaderAt
	calls, bytes atomic.Int64
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.calls.Add(1)
	c.bytes.Add(int64(len(p)))
	return c.r.ReadAt(p, off)
}

const (
	maxEntries  = 20_000  // that a mutant of a volume with some hundred may list in all
	maxCalls    = 400_000 // reads of the volume that it may cause
	maxRead     = 4 << 30
	readOfAFile = 256 << 10
)

// examine calls everything that a volume has, whatever it answers, each folder
// once, and fails when that is without end.
func examine(t testing.TB, r io.ReaderAt, size int64) (files, failed int) {
	t.Helper()
	c := &counted{r: r}
	Format.Probe(c, size)
	v, err := Format.Open(c, size, tree.Options{Memory: 4 << 20})
	if err != nil {
		return 0, 1
	}
	_ = v.Info()
	_, _ = v.(tree.Counter).CountUsed()
	seen := map[uint64]bool{}
	entries := 0
	queue := []uint64{v.Root()}
	for len(queue) > 0 {
		ino := queue[0]
		queue = queue[1:]
		a, err := v.Stat(ino)
		if err != nil {
			failed++
		}
		touch(v, ino, a)
		files++
		if a.Mode&unix.S_IFMT != unix.S_IFDIR || seen[ino] {
			continue
		}
		seen[ino] = true
		for e, err := range v.ReadDir(ino) {
			if entries++; entries > maxEntries {
				t.Fatalf("%d entries so far, the last is %q of %x", entries, e.Name, ino)
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

// touch reads some of everything that one inode has.
func touch(v tree.FileSystem, ino uint64, a tree.Attr) {
	names, _ := v.Xattrs(ino)
	for _, name := range append(names, "system.ntfs_reparse_data", "system.ntfs_attrib") {
		_, _ = v.Xattr(ino, name)
	}
	_, _ = v.Readlink(ino)
	_, _ = v.(tree.Streamer).Streams(ino)
	f, err := v.Open(ino)
	if err != nil {
		return
	}
	b := make([]byte, max(min(readOfAFile, a.Size+1), 1))
	for _, at := range []int64{0, a.Size / 2, a.Size - 100} {
		_, _ = f.ReadAt(b, max(at, 0))
	}
	n := 0
	for range f.Extents() {
		if n++; n > 10_000 {
			panic(fmt.Sprintf("file %x has more extents than the volume has clusters", ino))
		}
	}
}
