package xfs

import (
	"fmt"
	"io/fs"
	"sort"
)

const (
	magicLeaf1V4 = 0xd2f1 // the one leaf of a folder's index
	magicLeafNV4 = 0xd2ff // a leaf of many
	magicLeaf1V5 = 0x3df1
	magicLeafNV5 = 0x3dff
)

// Lookup implements tree.FileSystem. It goes by the folder's index, so that its
// cost does not grow with the folder.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	d, err := v.directory(dir)
	if err != nil {
		return 0, err
	}
	absent := fmt.Errorf("no %q in folder inode %d: %w", name, dir, fs.ErrNotExist)
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return 0, absent
	}
	m := match{name: name, folds: v.folds}
	if d.local != nil {
		_, err = d.short(m.take)
	} else {
		err = d.lookup(&m)
	}
	switch {
	case m.found:
		return m.ino, nil
	case err != nil && err != errEnough:
		return 0, err
	}
	return 0, absent
}

// match looks for a name among entries: as it is written, or else where the file
// system folds case the first that differs in case alone.
type match struct {
	name  string
	folds bool
	found bool
	ino   uint64
}

// take looks at an entry and reports whether to go on.
func (m *match) take(e dirEntry) bool {
	if e.name == m.name {
		m.found, m.ino = true, e.ino
		return false
	}
	if m.folds && !m.found && len(e.name) == len(m.name) && fold(e.name) == fold(m.name) {
		m.found, m.ino = true, e.ino
	}
	return true
}

// fold lowers the letters of a name as file systems made with "version=ci" do:
// those of ASCII, and bytes that are letters in ISO 8859-1.
func fold(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' || c >= 0xc0 && c <= 0xde && c != 0xd7 {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// hashes are those under which a name may be kept. Programs that knew the letters
// of ASCII alone hashed other bytes as they are.
func (m *match) hashes() []uint32 {
	if !m.folds {
		return []uint32{hashName(m.name)}
	}
	ascii := []byte(m.name)
	for i, c := range ascii {
		if c >= 'A' && c <= 'Z' {
			ascii[i] = c + 'a' - 'A'
		}
	}
	all := []uint32{hashName(fold(m.name))}
	if h := hashName(string(ascii)); h != all[0] {
		all = append(all, h)
	}
	return all
}

// lookup finds a name in a folder that is kept in blocks.
func (d *directory) lookup(m *match) error {
	for _, hash := range m.hashes() {
		if err := d.lookupHash(m, hash); err != nil || m.found {
			return err
		}
	}
	return nil
}

func (d *directory) lookupHash(m *match, hash uint32) error {
	if d.ino.size == int64(d.v.dirBlock) { // a folder of one block has its index there
		b, err := d.block(0)
		if err != nil {
			return err
		}
		if b.index != nil {
			_, _, err := d.among(b.index, hash, m)
			return err
		}
	}
	n := d.v.dirBlock
	b, ok, err := d.hashLeaf(dirIndexAt/uint64(d.v.block), n, hash)
	for hops := 0; err == nil && ok; {
		var entries []byte
		if entries, err = d.leafEntries(b); err != nil {
			return err
		}
		found, last, err := d.among(entries, hash, m)
		if err != nil || found || !last || b.next == 0 || b.magic == magicLeaf1V4 || b.magic == magicLeaf1V5 {
			return err
		}
		if b, err = d.nextLeaf(b, n, &hops); err != nil {
			return err
		}
	}
	return err
}

// leafEntries are the records of a leaf of the index (xfs_dir2_leaf): eight bytes
// each, hash and place, ascending.
func (d *directory) leafEntries(b hashBlock) ([]byte, error) {
	switch {
	case d.v.v5 && (b.magic == magicLeaf1V5 || b.magic == magicLeafNV5):
		return b.entries(8, 8)
	case !d.v.v5 && (b.magic == magicLeaf1V4 || b.magic == magicLeafNV4):
		return b.entries(4, 8)
	}
	return nil, corrupt(d.what, b.at, "no leaf of its index lies there")
}

// among looks at the entries that an index has for a hash. The second result is
// true where the hash may go on in the next leaf.
func (d *directory) among(entries []byte, hash uint32, m *match) (found, last bool, err error) {
	n := len(entries) / 8
	i := sort.Search(n, func(i int) bool { return be.Uint32(entries[i*8:]) >= hash })
	var b dirBlock
	have := ^uint64(0)
	for ; i < n && be.Uint32(entries[i*8:]) == hash; i++ {
		place := uint64(be.Uint32(entries[i*8+4:])) * dirAlign
		if place == 0 { // the entry is gone
			continue
		}
		if place >= dirIndexAt {
			return false, false, corrupt(d.what, d.at, "its index points past its entries")
		}
		if block := place / uint64(d.v.dirBlock); block != have {
			if b, err = d.block(block * uint64(d.v.dirBlock/d.v.block)); err != nil {
				return false, false, err
			}
			have = block
		}
		e, _, err := b.entry(int(place % uint64(d.v.dirBlock)))
		if err != nil {
			return false, false, err
		}
		if !m.take(e) {
			return true, false, nil
		}
	}
	return m.found, i == n, nil
}
