package exfat

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const maxJunk = 100 // after so many entries that cannot be, a folder is given up

// ReadDir yields a folder in the order of its entries.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for s, err := range v.list(dir) {
			out := tree.Entry{Name: s.name, Ino: s.ino, Type: unix.S_IFREG}
			if s.folder() {
				out.Type = unix.S_IFDIR
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

// gathering puts a set together from the entries of a folder.
type gathering struct {
	at   int64 // of its first entry; -1: none is under way
	want int   // bytes in all
	b    []byte
}

// add takes the next entry of a folder. A set is done when it is whole, or when
// something came that does not belong to it.
func (g *gathering) add(e clusters.Entry) (done []byte, at int64) {
	kind := e.B[0]
	if g.at >= 0 && kind&(inUse|secondary) == inUse|secondary {
		g.b = append(g.b, e.B...)
		if len(g.b) < g.want {
			return nil, 0
		}
		done, at = g.b, g.at
		g.at = -1
		return done, at
	}
	if g.at >= 0 {
		done, at = g.b, g.at
		g.at = -1
	}
	if kind == typeFile {
		fresh := make([]byte, 0, maxSet)
		g.at, g.want, g.b = e.At, setLength(e.B), append(fresh, e.B...)
		if g.want > maxSet || g.want < (1+minOthers)*entrySize {
			g.want = entrySize // done with whatever comes next, and refused
		}
	}
	return done, at
}

// list yields the files and folders of a folder. One whose entries cannot be comes
// with an error; any other error is the last.
func (v *volume) list(dir uint64) iter.Seq2[fileSet, error] {
	return func(yield func(fileSet, error) bool) {
		self, err := v.folder(dir)
		if err != nil {
			yield(fileSet{}, err)
			return
		}
		g, junk := gathering{at: -1}, 0
		for raw, err := range v.raw(self) {
			if err != nil {
				yield(fileSet{}, err)
				return
			}
			done, at := g.add(raw)
			if done == nil {
				continue
			}
			s, err := parseSet(done, at)
			if !yield(s, err) {
				return
			}
			if err == nil {
				continue
			}
			if junk++; junk > maxJunk {
				yield(fileSet{}, &tree.CorruptError{What: fmt.Sprintf("folder %d", dir), Why: "what it holds are no entries", At: raw.At})
				return
			}
		}
	}
}

// raw yields what a folder holds, and an entry that ends it: a set that is cut short there is broken.
func (v *volume) raw(self fileSet) iter.Seq2[clusters.Entry, error] {
	return func(yield func(clusters.Entry, error) bool) {
		for e, err := range v.entries.Of(self.ino, v.folderParts(self)) {
			if !yield(e, err) || err != nil {
				return
			}
		}
		yield(clusters.Entry{B: make([]byte, entrySize)}, nil)
	}
}

// folderParts yields where a folder lies on the volume.
func (v *volume) folderParts(self fileSet) iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		c, err := v.folderChain(self)
		if err != nil && c.Size == 0 {
			yield(tree.Extent{}, err)
			return
		}
		c.Parts()(yield)
	}
}

func (v *volume) chain(what string, s fileSet) *clusters.Chain {
	return &clusters.Chain{Space: &v.space, What: fmt.Sprintf("%s %d", what, s.ino), At: s.at(), First: s.cluster, Unchained: s.unchained, Size: s.size, Written: s.written}
}

// folderChain finds the clusters of a folder. The root has no entry that tells its
// size: its chain is followed to the end. Beside an error is what of it can be read, if its size is not 0.
func (v *volume) folderChain(self fileSet) (*clusters.Chain, error) {
	c := v.chain("folder", self)
	if self.ino == rootIno {
		c.At = v.place(v.rootCluster)
		return c, c.ToItsEnd(maxFolder)
	}
	c.Written = c.Size
	err := c.Check()
	if c.Size > maxFolder+v.cluster {
		err = c.Corrupt("it has more than %d bytes", maxFolder)
	}
	if err != nil {
		c.Size = 0
	}
	return c, err
}

// folder returns the set of a folder.
func (v *volume) folder(ino uint64) (fileSet, error) {
	s, err := v.set(ino)
	if err == nil && !s.folder() {
		err = fmt.Errorf("file %d is not a folder: %w", ino, fs.ErrInvalid)
	}
	return s, err
}

// set reads the entries that an inode number stands for. Those that go on in
// another cluster do so where the table says or, in a folder that the table has no
// word of, in the next one: the checksum tells which it is.
func (v *volume) set(ino uint64) (fileSet, error) {
	if ino == rootIno {
		return fileSet{ino: ino, attrs: attrFolder, cluster: v.rootCluster}, nil
	}
	end := uint64(v.place(2)+int64(v.clusters)*v.cluster) / entrySize
	if ino < uint64(v.heapAt)/entrySize || ino >= end {
		return fileSet{}, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	at := int64(ino) * entrySize
	b := make([]byte, entrySize, maxSet)
	if err := v.entries.Read(b, at); err != nil {
		return fileSet{}, err
	}
	if b[0] != typeFile || setLength(b) > maxSet || setLength(b) < (1+minOthers)*entrySize {
		return fileSet{}, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	b = b[:setLength(b)]
	inCluster := (at - v.heapAt) % v.cluster
	here := int(min(int64(len(b)), v.cluster-inCluster))
	if err := v.entries.Read(b[:here], at); err != nil {
		return fileSet{}, err
	}
	if here == len(b) {
		return parseSet(b, at)
	}
	return v.setOverTwo(b, here, at)
}

// setOverTwo reads the rest of a set that begins at the end of a cluster.
func (v *volume) setOverTwo(b []byte, here int, at int64) (fileSet, error) {
	cluster := uint32((at-v.heapAt)/v.cluster) + 2
	table := cursor{v: v}
	next, end, linkErr := table.Next(cluster)
	var last error
	for i, c := range []uint32{next, cluster + 1} {
		if i == 0 && (end || linkErr != nil) || !v.valid(c) {
			continue
		}
		if err := v.entries.Read(b[here:], v.place(c)); err != nil {
			return fileSet{}, err
		}
		s, err := parseSet(b, at)
		if err == nil {
			return s, nil
		}
		last = err
	}
	if last == nil {
		last = errors.Join(&tree.CorruptError{What: fmt.Sprintf("inode %d", at/entrySize), Why: "its entries have no end", At: at}, linkErr)
	}
	return fileSet{}, last
}
