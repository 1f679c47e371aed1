package fat

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// names are the names of one folder.
type names struct {
	exact  map[string]uint64
	folded map[string]uint64 // in upper case; short names as well
	damage error             // what kept the rest from being read
}

const nameCost = 160 // of a name in both maps, beside its bytes

// Lookup finds a name as it is written, else in any case, else a short one.
func (v *volume) Lookup(dir uint64, name string) (uint64, error) {
	all, ok := v.folders.Get(dir)
	if !ok {
		var err error
		if all, err = v.namesOf(dir); err != nil {
			return 0, err
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

// namesOf reads a folder into maps and keeps them if they fit.
func (v *volume) namesOf(dir uint64) (*names, error) {
	if _, err := v.folder(dir); err != nil {
		return nil, err
	}
	all := &names{exact: map[string]uint64{}, folded: map[string]uint64{}}
	short := map[string]uint64{}
	cost := int64(0)
	for e, err := range v.list(dir) {
		if e.name == "" || err != nil {
			all.damage = errors.Join(all.damage, err)
			continue
		}
		all.exact[e.name] = e.ino
		if _, have := all.folded[strings.ToUpper(e.name)]; !have {
			all.folded[strings.ToUpper(e.name)] = e.ino
		}
		short[strings.ToUpper(e.short)] = e.ino
		cost += nameCost + 2*int64(len(e.name)) + nameCost/2
	}
	for name, ino := range short {
		if _, have := all.folded[name]; !have {
			all.folded[name] = ino
		}
	}
	v.folders.Put(dir, all, cost)
	return all, nil
}
