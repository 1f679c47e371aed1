package guestfs

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// maxRoots is how many subvolumes of a volume are looked into for the guest's root.
const maxRoots = 64

// mountRoot is the inode of the folder that mount(8) would show of a file system with
// these options: that of a subvolume that they name, or of the default one, where the
// file system has several.
func mountRoot(f tree.FileSystem, options []string) (uint64, error) {
	s, ok := f.(tree.Subvolumer)
	if !ok {
		return f.Root(), nil
	}
	path, id := "", uint64(0)
	for _, o := range options {
		if p, ok := strings.CutPrefix(o, "subvol="); ok {
			path, id = strings.Trim(p, "/"), 0
			if path == "" {
				return f.Root(), nil
			}
		}
		if n, ok := strings.CutPrefix(o, "subvolid="); ok && path == "" {
			id, _ = strconv.ParseUint(n, 0, 64)
		}
	}
	list, err := s.Subvolumes()
	for _, v := range list {
		if path != "" && v.Path == path || path == "" && (id != 0 && v.ID == id || id == 0 && v.Default) {
			return v.Root, nil
		}
	}
	if err != nil {
		return 0, err
	}
	if path != "" || id != 0 {
		return 0, &NotInPointError{What: "subvolume " + cmp.Or(path, strconv.FormatUint(id, 10)), Why: "its file system has none of that name"}
	}
	return f.Root(), nil
}

// rootViews are the trees of a volume that the guest's root may be: the volume itself,
// or each of its subvolumes that is no snapshot, the default one first.
func (v *Volume) rootViews() []*View {
	f, err := v.FS()
	if err != nil {
		return []*View{v.View()}
	}
	s, ok := f.(tree.Subvolumer)
	if !ok {
		return []*View{v.View()}
	}
	list, _ := s.Subvolumes()
	var first, rest []*View
	for _, one := range list {
		w := &View{root: v, top0: one.Root}
		if one.Default {
			first = append(first, w)
		} else if !one.Snapshot && len(rest) < maxRoots {
			rest = append(rest, w)
		}
	}
	return append(first, rest...)
}

// shows tells whether an entry of fstab mounts what w is, of the volume that both name.
func (w *View) shows(e fstabEntry) bool {
	f, err := w.root.FS()
	if err != nil || w.top0 == 0 {
		return true
	}
	ino, err := mountRoot(f, e.options)
	return err == nil && ino == w.top0
}
