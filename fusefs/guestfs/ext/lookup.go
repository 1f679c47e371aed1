package ext

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"slices"
	"sort"
	"strings"
	"sync"
)

// matcher compares stored names with one that is looked for.
type matcher struct {
	name, folded string
	fold, secret bool // of the folder: casefold, encrypted
}

func (v *volume) matcher(in *inode, name string) *matcher {
	m := &matcher{name: name, secret: in.has(flagEncrypted)}
	if in.has(flagCasefold) && v.sb.encoding == encodingUTF8 && !m.secret {
		m.fold, m.folded = true, foldName(name)
	}
	return m
}

func (m *matcher) matches(stored []byte) bool {
	if m.fold {
		return string(stored) == m.name || foldName(string(stored)) == m.folded
	}
	if m.secret {
		return escapeEncrypted(stored) == m.name
	}
	return string(stored) == m.name
}

// key is what two names that match each other have in common.
func (m *matcher) key(stored []byte) string {
	if m.fold {
		return foldName(string(stored))
	}
	if m.secret {
		return escapeEncrypted(stored)
	}
	return string(stored)
}

// smallFolder is how many blocks are searched from the front.
const smallFolder = 4

// Lookup finds a name in a folder. In a folder with the casefold flag names are
// equal that differ by case or composition only. A large folder is searched by its
// hash tree, or, where that is of no use, by a table made of its names.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	in, err := v.folder(dir)
	if err != nil {
		return 0, err
	}
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return 0, fs.ErrNotExist
	}
	ino, err := v.find(&in, v.matcher(&in, name))
	switch {
	case err != nil:
		return 0, fmt.Errorf("look up %q in folder %d: %w", name, dir, err)
	case ino == 0:
		return 0, fs.ErrNotExist
	case !v.sb.visible(ino):
		return 0, damagedInode(in.number, "the entry %q is of inode %d", name, ino)
	}
	return uint64(ino), nil
}

// find returns the inode that a name stands for, 0 if it is not there.
func (v *volume) find(in *inode, match *matcher) (uint32, error) {
	delta := v.fast.folder(in.number)
	if delta != nil && !match.fold {
		if f, changed := delta.names[match.name]; changed || delta.fresh {
			return f.ino, nil
		}
	}
	small := int64(le.Uint32(in.raw[4:])) <= smallFolder*v.sb.blockSize
	if small || delta != nil && match.fold {
		return v.scan(in, match)
	}
	if ino, usable := v.lookupHash(in, match); usable {
		return ino, nil
	}
	table, err := v.table(in, match)
	if table == nil {
		return v.scan(in, match)
	}
	ino, damage := v.findIn(table, in, match)
	if ino == 0 && damage == nil {
		damage = err
	}
	return ino, damage
}

// scan searches a folder from the front.
func (v *volume) scan(in *inode, match *matcher) (found uint32, err error) {
	err = v.entries(in, func(d dirent) bool {
		if match.matches(d.name) {
			found = d.ino
		}
		return found == 0
	})
	if found != 0 {
		err = nil
	}
	return found, err
}

// nameTables are tables of the names of large folders, the oldest leaving first.
type nameTables struct {
	limit int64 // bytes of all tables

	mu     sync.Mutex // guards what follows; not held while reading
	used   int64
	tables map[uint32]*nameTable
	order  []uint32
}

// nameTable is sorted by the hash of a name. Names of equal hash are told apart in
// the block of the folder where they lie.
type nameTable struct {
	slots  []nameSlot
	damage error
}

type nameSlot struct {
	hash  uint64
	block uint32
}

const slotSize = 16

// table returns the table of a folder's names, made on the first call; nil if it
// would be too large. Its error is what damage kept it from being whole.
func (v *volume) table(in *inode, match *matcher) (*nameTable, error) {
	n := &v.names
	n.mu.Lock()
	t := n.tables[in.number]
	n.mu.Unlock()
	if t == nil {
		t = v.makeTable(in, match)
		n.keep(in.number, t)
	}
	if t.slots == nil {
		return nil, t.damage
	}
	return t, t.damage
}

func (v *volume) makeTable(in *inode, match *matcher) *nameTable {
	t := &nameTable{slots: []nameSlot{}}
	full := false
	_, t.damage = v.stored(in, func(d dirent) bool {
		full = int64(len(t.slots)+1)*slotSize > v.names.limit/2
		t.slots = append(t.slots, nameSlot{maphash.String(v.secret, match.key(d.name)), uint32(d.block)})
		return !full
	})
	if full {
		t.slots = nil
		return t
	}
	slices.SortFunc(t.slots, func(a, b nameSlot) int {
		if a.hash != b.hash {
			if a.hash < b.hash {
				return -1
			}
			return 1
		}
		return int(a.block) - int(b.block)
	})
	t.slots = slices.Clip(t.slots)
	return t
}

func (n *nameTables) keep(ino uint32, t *nameTable) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tables == nil {
		n.tables = map[uint32]*nameTable{}
	}
	if n.tables[ino] != nil {
		return
	}
	n.tables[ino] = t
	n.order = append(n.order, ino)
	n.used += t.size()
	for n.used > n.limit && len(n.order) > 1 {
		n.used -= n.tables[n.order[0]].size()
		delete(n.tables, n.order[0])
		n.order = n.order[1:]
	}
}

func (t *nameTable) size() int64 { return int64(len(t.slots))*slotSize + 128 }

// findIn looks into the blocks where names of the same hash lie.
func (v *volume) findIn(t *nameTable, in *inode, match *matcher) (found uint32, err error) {
	m, err := v.mapping(in)
	if err != nil {
		return 0, err
	}
	hash := maphash.String(v.secret, match.key([]byte(match.name)))
	if match.secret {
		hash = maphash.String(v.secret, match.name)
	}
	for i := sort.Search(len(t.slots), func(i int) bool { return t.slots[i].hash >= hash }); i < len(t.slots) && t.slots[i].hash == hash; i++ {
		r, err := v.at(&m, uint64(t.slots[i].block))
		if err != nil || !r.data {
			return 0, err
		}
		if _, err = v.blockEntries(in, r.logical, r.physical, func(d dirent) bool {
			if match.matches(d.name) {
				found = d.ino
			}
			return found == 0
		}); found != 0 || err != nil {
			return found, err
		}
	}
	return 0, nil
}
