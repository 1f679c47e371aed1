package fat

import (
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/clusters"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxFolder = 65536 * entrySize // what the specification allows
	maxJunk   = 100               // after so many entries that cannot be, a folder is given up
)

// named is an entry with its names.
type named struct {
	entry
	name, short string
}

// ReadDir yields a folder in the order of its entries.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for e, err := range v.list(dir) {
			out := tree.Entry{Name: e.name, Ino: e.ino, Type: unix.S_IFREG}
			if e.folder() {
				out.Type = unix.S_IFDIR
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

// list yields the entries of a folder with their names. An entry that cannot be
// comes with an error; any other error is the last.
func (v *volume) list(dir uint64) iter.Seq2[named, error] {
	return func(yield func(named, error) bool) {
		self, err := v.folder(dir)
		if err != nil {
			yield(named{}, err)
			return
		}
		var name long
		junk, first := 0, true
		for raw, err := range v.raw(self) {
			if err == nil && first && dir != rootIno && !isSelf(raw.B, self, v.bits) {
				err = &tree.CorruptError{What: fmt.Sprintf("folder %d", dir), Why: "it does not begin with the entry of itself", At: raw.At}
			}
			if err != nil {
				yield(named{}, err)
				return
			}
			first = false
			if raw.B[11]&attrMask == attrLong && raw.B[0] != markFree {
				name.add(raw.B)
				continue
			}
			if used(raw.B) && raw.B[0] != '.' {
				e, err := v.name(parseEntry(raw.B, uint64(raw.At/entrySize), v.bits), &name)
				if err != nil {
					junk++
				}
				if !yield(e, err) {
					return
				}
			}
			if name.parts = 0; junk > maxJunk {
				yield(named{}, &tree.CorruptError{What: fmt.Sprintf("folder %d", dir), Why: "it holds junk", At: raw.At})
				return
			}
		}
	}
}

// name gives an entry its names: the long one, where it is whole and can be.
func (v *volume) name(e entry, l *long) (named, error) {
	n := named{entry: e, short: e.short(v.page)}
	n.name = l.name(e)
	if n.name == "" || n.name == "." || n.name == ".." || strings.ContainsRune(n.name, '/') {
		n.name = n.short
		if e.junk() {
			return n, &tree.CorruptError{What: fmt.Sprintf("the entry %q", n.name), Why: "no file can have this name", At: e.at()}
		}
	}
	return n, nil
}

// isSelf reports whether an entry is the "." of a folder. Of the cluster the
// lower half is compared: the upper one was not always written.
func isSelf(b []byte, self entry, bits int) bool {
	e := parseEntry(b, 0, bits)
	return string(e.raw[:]) == ".          " && e.folder() && uint16(e.cluster) == uint16(self.cluster)
}

// raw yields what a folder holds up to its end.
func (v *volume) raw(self entry) iter.Seq2[clusters.Entry, error] {
	return v.entries.Of(self.ino, v.folderParts(self))
}

// folderParts yields where a folder lies on the volume.
func (v *volume) folderParts(self entry) iter.Seq2[tree.Extent, error] {
	return func(yield func(tree.Extent, error) bool) {
		if self.ino == rootIno && v.bits != 32 {
			yield(tree.Extent{Off: v.rootAt, Len: v.rootSize}, nil)
			return
		}
		c := &clusters.Chain{Space: &v.space, What: fmt.Sprintf("folder %d", self.ino), At: self.at(), First: self.cluster}
		if err := c.ToItsEnd(maxFolder); err != nil && c.Size == 0 {
			yield(tree.Extent{}, err)
			return
		}
		c.Parts()(yield)
	}
}

// folder returns the entry of a folder.
func (v *volume) folder(ino uint64) (entry, error) {
	e, err := v.entry(ino)
	if err == nil && !e.folder() {
		err = fmt.Errorf("file %d is not a folder: %w", ino, fs.ErrInvalid)
	}
	return e, err
}

// entry reads the entry that an inode number stands for. The root has none.
func (v *volume) entry(ino uint64) (entry, error) {
	if ino == rootIno {
		return entry{ino: ino, attrs: attrFolder, cluster: v.rootCluster}, nil
	}
	end := uint64(v.dataAt+int64(v.clusters)*v.cluster) / entrySize
	if ino < uint64(v.rootAt)/entrySize || ino >= end {
		return entry{}, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	b := make([]byte, entrySize)
	if err := v.entries.Read(b, int64(ino)*entrySize); err != nil {
		return entry{}, err
	}
	if !used(b) {
		return entry{}, fmt.Errorf("inode %d: %w", ino, fs.ErrNotExist)
	}
	return parseEntry(b, ino, v.bits), nil
}
