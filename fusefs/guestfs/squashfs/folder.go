package squashfs

import (
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxFolder  = 256 << 20
	notListed  = 3   // bytes that a folder's size counts beside its listing, for "." and ".."
	maxOfHead  = 256 // entries after one header
	nameCost   = 120 // of a name in a map, beside its bytes
	headerSize = 12
)

// ReadDir yields a folder in the order of its names.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		n, err := v.inode(dir)
		if err == nil && n.kind != kindFolder {
			err = fmt.Errorf("inode %d is not a folder: %w", dir, fs.ErrInvalid)
		}
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		if n.attr.Size <= notListed {
			return
		}
		c, err := v.seek(v.dirTable+n.start, n.offset)
		if err != nil {
			yield(tree.Entry{}, fmt.Errorf("folder %d: %w", dir, err))
			return
		}
		l := listing{v: v, c: c, dir: dir, left: n.attr.Size - notListed}
		for l.left > 0 {
			if err := l.group(yield); err != nil {
				if err != errStopped {
					yield(tree.Entry{}, err)
				}
				return
			}
		}
	}
}

// errStopped: whoever reads wants no more.
var errStopped = fmt.Errorf("stopped")

// listing reads a folder from its place in the table.
type listing struct {
	v    *volume
	c    *cursor
	dir  uint64
	left int64 // bytes
	last string
}

func (l *listing) corrupt(why string, args ...any) error {
	return &tree.CorruptError{What: fmt.Sprintf("folder %d", l.dir), Why: fmt.Sprintf(why, args...), At: l.v.dirTable}
}

func (l *listing) take(n int) ([]byte, error) {
	if l.left -= int64(n); l.left < 0 {
		return nil, l.corrupt("its last entry goes on beyond it")
	}
	b, err := l.c.take(n)
	if err != nil {
		return nil, fmt.Errorf("folder %d: %w", l.dir, err)
	}
	return b, nil
}

// group yields the entries after one header, whose inodes lie in one metadata block.
func (l *listing) group(yield func(tree.Entry, error) bool) error {
	b, err := l.take(headerSize)
	if err != nil {
		return err
	}
	count, start := int64(le.Uint32(b))+1, uint64(le.Uint32(b[4:]))
	if count > maxOfHead {
		return l.corrupt("%d entries follow one header", count)
	}
	for range count {
		b, err := l.take(8)
		if err != nil {
			return err
		}
		offset, kind, size := uint64(le.Uint16(b)), int(le.Uint16(b[4:])), int(le.Uint16(b[6:]))+1
		if size > 256 || kind < kindFolder || kind > kindSocket {
			return l.corrupt("it has a name of %d bytes for an inode of kind %d", size, kind)
		}
		if b, err = l.take(size); err != nil {
			return err
		}
		e := tree.Entry{Name: string(b), Ino: start<<16 | offset + 1, Type: typeOf[kind]}
		// Names ascend, which keeps one from being there twice, and a folder from
		// being any other bytes.
		if !plausible(e.Name) || e.Name <= l.last {
			return l.corrupt("%q follows %q", e.Name, l.last)
		}
		if l.last = e.Name; !yield(e, nil) {
			return errStopped
		}
	}
	return nil
}

func plausible(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// Lookup finds a name.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	names, ok := v.folders.Get(dir)
	if !ok {
		var err error
		if names, err = v.namesOf(dir, name); err != nil {
			return 0, err
		}
	}
	if ino, ok := names[name]; ok {
		return ino, nil
	}
	return 0, fmt.Errorf("%q in folder %d: %w", name, dir, fs.ErrNotExist)
}

// namesOf reads a folder into a map and keeps it if it fits: of a folder that is
// too large, or damaged, only the wanted name is found.
func (v *volume) namesOf(dir uint64, wanted string) (map[string]uint64, error) {
	names, cost, fits := map[string]uint64{}, int64(0), true
	for e, err := range v.ReadDir(dir) {
		if err != nil {
			if _, have := names[wanted]; have {
				return names, nil
			}
			return nil, err
		}
		if fits = fits && len(names) < v.maxNames; fits || e.Name == wanted {
			names[e.Name] = e.Ino
			cost += nameCost + int64(len(e.Name))
		}
	}
	if fits {
		v.folders.Put(dir, names, cost)
	}
	return names, nil
}
