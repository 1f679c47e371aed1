package udf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxFolder = 1 << 30 // bytes
	maxJunk   = 100     // after so many entries that cannot be, a folder is given up
	nameCost  = 150     // of a name in a map, beside its bytes

	identifierHead = 38

	// Flags of an identifier: ECMA-167 4/14.4.3.
	isFolder  = 1 << 1
	isDeleted = 1 << 2
	isAbove   = 1 << 3
)

// identifier is a file identifier: a name in a folder.
type identifier struct {
	name string
	icb  long
	flag byte
}

func (i *identifier) ino() uint64 { return inoOf(i.icb.ref, i.icb.block) }

// ReadDir yields a folder in the order of its identifiers.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		e, err := v.folder(dir)
		if err != nil {
			yield(tree.Entry{}, err)
			return
		}
		for i, err := range v.list(e) {
			out := tree.Entry{Name: i.name}
			if err == nil {
				if out.Ino = i.ino(); i.flag&isFolder != 0 {
					out.Type = unix.S_IFDIR
				}
			}
			if !yield(out, err) {
				return
			}
		}
	}
}

func (v *volume) folder(dir uint64) (*entry, error) {
	e, err := v.entry(dir)
	switch {
	case err != nil:
		return nil, err
	case !e.folder():
		return nil, fmt.Errorf("file %d is not a folder: %w", dir, fs.ErrInvalid)
	case e.size > maxFolder:
		return nil, corrupt(fmt.Sprintf("folder %d", dir), e.at, "it has %d bytes", e.size)
	}
	return e, nil
}

// list yields the identifiers of a folder that are to be shown. One that cannot be comes
// with an error and a name; any other error is the last.
func (v *volume) list(e *entry) iter.Seq2[identifier, error] {
	return func(yield func(identifier, error) bool) {
		f, err := v.content(e)
		if err != nil {
			yield(identifier{}, err)
			return
		}
		what, junk := fmt.Sprintf("folder %d", f.ino), 0
		w := window{f: f}
		for at := int64(0); at < e.size; {
			i, length, err := w.identifier(at)
			if length == 0 {
				if !isCorrupt(err) {
					err = fmt.Errorf("%s: %w", what, err)
				}
				yield(identifier{}, err)
				return
			}
			at += length
			if err == nil && i.flag&(isAbove|isDeleted) != 0 {
				continue
			}
			if err != nil {
				if junk++; junk > maxJunk {
					yield(identifier{}, corrupt(what, e.at, "what it holds are no names"))
					return
				}
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

func isCorrupt(err error) bool {
	var c *tree.CorruptError
	return errors.As(err, &c)
}

// window reads a folder in large pieces.
type window struct {
	f  *file
	b  []byte
	at int64
}

// get returns n bytes, or fewer at the folder's end.
func (w *window) get(at int64, n int) ([]byte, error) {
	if at < w.at || at+int64(n) > w.at+int64(len(w.b)) {
		w.b, w.at = make([]byte, max(min(32<<10, w.f.size-at), min(int64(n), w.f.size-at))), at
		if got, err := w.f.ReadAt(w.b, at); got < len(w.b) {
			w.b = nil
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	b := w.b[at-w.at:]
	return b[:min(n, len(b))], nil
}

// identifier reads the one at a place of the folder. The length is 0 where what follows
// cannot be found.
func (w *window) identifier(at int64) (i identifier, length int64, err error) {
	bad := func(why string, args ...any) error {
		return corrupt(fmt.Sprintf("folder %d", w.f.ino), w.f.at, "its name at %d: %s", at, fmt.Sprintf(why, args...))
	}
	b, err := w.get(at, identifierHead)
	if err != nil {
		return i, 0, err
	}
	if len(b) < identifierHead || le.Uint16(b) != tagIdentifier {
		return i, 0, bad("there is none")
	}
	extra, name := int(le.Uint16(b[36:])), int(b[19])
	length = int64(identifierHead+extra+name+3) &^ 3
	if b, err = w.get(at, int(length)); err != nil {
		return i, 0, err
	}
	if len(b) < identifierHead+extra+name {
		return i, 0, bad("it is cut short")
	}
	// Writers differ in which block a folder's names say that they lie in.
	if err := checkTag(b, tagIdentifier, le.Uint32(b[12:])); err != nil {
		return identifier{name: fmt.Sprintf("name at %d", at)}, length, bad("%v", err)
	}
	i = identifier{icb: longOf(b[20:]), flag: b[18]}
	text, ok := decodeCS0(b[identifierHead+extra:][:name])
	if i.name = text; i.flag&(isDeleted|isAbove) != 0 {
		return i, length, nil
	}
	if !ok || !plausible(text) || i.icb.length == 0 {
		i.name = fmt.Sprintf("name at %d", at)
		return i, length, bad("%q, of %d bytes, names no file", text, i.icb.length)
	}
	return i, length, nil
}

func plausible(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// names are the names of one folder.
type names struct {
	exact  map[string]uint64
	damage error // what kept the rest from being read
}

// Lookup finds a name as it is written.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	all, ok := v.folders.Get(dir)
	if !ok {
		e, err := v.folder(dir)
		if err != nil {
			return 0, err
		}
		found := uint64(0)
		if all, found = v.namesOf(dir, e, name); found != 0 {
			return found, nil
		}
	}
	if ino, ok := all.exact[name]; ok {
		return ino, nil
	}
	if all.damage != nil {
		return 0, all.damage
	}
	return 0, fmt.Errorf("%q in folder %d: %w", name, dir, fs.ErrNotExist)
}

// namesOf reads a folder into a map and keeps it if it fits: of a folder that is too
// large, only the wanted name is found.
func (v *volume) namesOf(dir uint64, e *entry, wanted string) (*names, uint64) {
	all, found, cost, limit := &names{exact: map[string]uint64{}}, uint64(0), int64(0), int(v.memory/8/nameCost)
	fits := true
	for i, err := range v.list(e) {
		if err != nil {
			if all.damage == nil {
				all.damage = err
			}
			continue
		}
		if i.name == wanted && found == 0 {
			found = i.ino()
		}
		if fits = fits && len(all.exact) < limit; !fits {
			continue
		}
		if _, have := all.exact[i.name]; !have {
			all.exact[i.name] = i.ino()
		}
		cost += nameCost + int64(len(i.name))
	}
	if fits {
		v.folders.Put(dir, all, cost)
	}
	return all, found
}
