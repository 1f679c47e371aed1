package iso9660

import (
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

const (
	maxFolder = 256 << 20
	maxJunk   = 100 // after so many records that cannot be, a folder is given up
	nameCost  = 200 // of a name in both maps, beside its bytes
)

// ReadDir yields a folder in the order of its records.
func (v *volume) ReadDir(dir uint64) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for r, err := range v.list(dir) {
			e := tree.Entry{Ino: r.ino(), Type: v.mode(&r) & unix.S_IFMT}
			if len(r.id) > 0 {
				e.Name = v.name(&r)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// list yields the records of a folder that are to be shown. One that cannot be
// comes with an error and a name; any other error is the last.
func (v *volume) list(dir uint64) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		folder, err := v.folder(dir)
		if err == nil {
			_, err = v.self(&folder)
		}
		if err != nil {
			yield(record{}, err)
			return
		}
		junk := 0
		for r, err := range v.records(&folder) {
			if err != nil {
				yield(record{}, err)
				return
			}
			if r.isSelf() || r.flags&flagAssociated != 0 || r.rock.moved {
				continue
			}
			err := r.rock.err
			if name := v.name(&r); !plausible(name) {
				r.rock.name = fmt.Sprintf("record at %d", r.at)
				err = &tree.CorruptError{What: fmt.Sprintf("the record of %q", name), Why: "no file can have this name", At: r.at}
			}
			if err != nil {
				if junk++; junk > maxJunk {
					yield(record{}, &tree.CorruptError{What: fmt.Sprintf("folder %d", dir), Why: "what it holds are no records", At: r.at})
					return
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func plausible(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// records yields all records of a folder, those of several sections as one.
func (v *volume) records(folder *record) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		at := folder.sections[0].at
		end := at + folder.sections[0].size
		next := func(at int64) (record, error) {
			if at >= end {
				return record{}, &tree.CorruptError{What: fmt.Sprintf("folder %d", folder.ino()), Why: "its last file goes on beyond it", At: at}
			}
			return v.one(at)
		}
		for at < end {
			begin := at / sectorSize * sectorSize
			b, err := v.sector(begin)
			if err == nil && b[at-begin] == 0 { // no more in this sector
				at = begin + sectorSize
				continue
			}
			var r record
			if err == nil {
				r, err = v.parseRecord(b[at-begin:], at)
			}
			if err == nil {
				err = v.gather(&r, next)
			}
			if err != nil {
				yield(record{}, fmt.Errorf("folder %d: %w", folder.ino(), err))
				return
			}
			if v.apply(&r); !yield(r, nil) {
				return
			}
			at = r.at + r.length
		}
	}
}

// folder returns the record of a folder.
func (v *volume) folder(ino uint64) (record, error) {
	r, err := v.recordAt(ino)
	switch {
	case err != nil:
		return r, err
	case !r.folder():
		return r, fmt.Errorf("file %d is not a folder: %w", ino, fs.ErrInvalid)
	case r.rock.err != nil && r.rock.child != 0:
		return r, r.rock.err
	case len(r.sections) != 1 || r.sections[0].size > maxFolder || r.sections[0].at%v.block != 0 || r.gaps:
		return r, &tree.CorruptError{What: fmt.Sprintf("folder %d", ino), Why: fmt.Sprintf("it has %d bytes in %d sections", r.size(), len(r.sections)), At: r.at}
	}
	return r, nil
}

// names are the names of one folder.
type names struct {
	exact  map[string]uint64
	folded map[string]uint64 // in upper case, nil where case matters
	damage error             // what kept the rest from being read
}

// Lookup finds a name as it is written; without Rock Ridge, else in any case.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	all, ok := v.folders.Get(dir)
	if !ok {
		if _, err := v.folder(dir); err != nil {
			return 0, err
		}
		found := uint64(0)
		if all, found = v.namesOf(dir, name); found != 0 {
			return found, nil
		}
	}
	if ino, ok := all.exact[name]; ok {
		return ino, nil
	}
	if ino, ok := all.folded[strings.ToUpper(name)]; ok {
		return ino, nil
	}
	if all.damage != nil {
		return 0, all.damage
	}
	return 0, fmt.Errorf("%q in folder %d: %w", name, dir, fs.ErrNotExist)
}

// namesOf reads a folder into maps and keeps them if they fit: of a folder that
// is too large, only the wanted name is found.
func (v *volume) namesOf(dir uint64, wanted string) (*names, uint64) {
	all, found, cost := &names{exact: map[string]uint64{}, folded: map[string]uint64{}}, uint64(0), int64(0)
	fits := true
	for r, err := range v.list(dir) {
		if err != nil {
			if all.damage == nil {
				all.damage = err
			}
			continue
		}
		name := v.name(&r)
		if name == wanted || found == 0 && v.info.FoldsCase && strings.EqualFold(name, wanted) {
			found = r.ino()
		}
		if fits = fits && len(all.exact) < v.maxNames; !fits {
			continue
		}
		if _, have := all.exact[name]; !have {
			all.exact[name] = r.ino()
		}
		if v.info.FoldsCase {
			all.folded[strings.ToUpper(name)] = r.ino()
		}
		cost += nameCost + 2*int64(len(name))
	}
	if fits {
		v.folders.Put(dir, all, cost)
	}
	return all, found
}
