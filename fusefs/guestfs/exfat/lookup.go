package exfat

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/wtf8"
)

// index finds the files of one folder by a hash of their names in upper case.
type index struct {
	all    []hashed // ascending
	damage error    // what kept the rest from being read
}

type hashed struct {
	hash uint32
	ino  uint64
}

const hashedCost = 16

func hashOf(folded []byte) uint32 {
	h := fnv.New32a()
	h.Write(folded)
	return h.Sum32()
}

// Lookup finds a name as it is written, else in any case.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	var units []byte
	for _, u := range wtf8.Encode(name) {
		units = le.AppendUint16(units, u)
	}
	if len(units) == 0 || len(units) > 2*maxUnits {
		if _, err := v.folder(dir); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%q in folder %d: %w", name, dir, fs.ErrNotExist)
	}
	w := wanted{name: name, folded: v.upcase.fold(units)}
	x, ok := v.folders.Get(dir)
	if !ok {
		var err error
		if x, err = v.indexOf(dir, &w); err != nil {
			return 0, err
		}
	}
	x.search(v, &w)
	switch {
	case w.found != 0:
		return w.found, nil
	case x.damage != nil:
		return 0, x.damage
	}
	return 0, fmt.Errorf("%q in folder %d: %w", name, dir, fs.ErrNotExist)
}

// wanted is a name that is looked for.
type wanted struct {
	name   string
	folded []byte
	found  uint64
	exact  bool
}

func (w *wanted) meet(s *fileSet, u *upcase) {
	if !w.exact && bytes.Equal(u.fold(s.units), w.folded) && (w.found == 0 || s.name == w.name) {
		w.found, w.exact = s.ino, s.name == w.name
	}
}

// search looks a name up in the index.
func (x *index) search(v *volume, w *wanted) {
	hash := hashOf(w.folded)
	i, _ := slices.BinarySearchFunc(x.all, hash, func(h hashed, hash uint32) int { return cmp.Compare(h.hash, hash) })
	for ; i < len(x.all) && x.all[i].hash == hash; i++ {
		if s, err := v.set(x.all[i].ino); err == nil {
			w.meet(&s, v.upcase)
		}
	}
}

// indexOf reads a folder, looks for a name on the way, and keeps the index if it
// fits: of a folder that is too large for it, only the wanted name is found.
func (v *volume) indexOf(dir uint64, w *wanted) (*index, error) {
	if _, err := v.folder(dir); err != nil {
		return nil, err
	}
	x, fits := &index{}, true
	for s, err := range v.list(dir) {
		if err != nil {
			if x.damage == nil || s.name == "" {
				x.damage = errors.Join(x.damage, err)
			}
			continue
		}
		w.meet(&s, v.upcase)
		if fits = fits && len(x.all) < v.maxNames; fits {
			x.all = append(x.all, hashed{hashOf(v.upcase.fold(s.units)), s.ino})
		}
	}
	if !fits {
		x.all = nil
		return x, nil
	}
	slices.SortFunc(x.all, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.ino, b.ino)) })
	v.folders.Put(dir, x, int64(cap(x.all))*hashedCost)
	return x, nil
}
