package guestfs

import (
	"errors"
	"path"
	"sync"
)

// View is a tree of names: one volume by itself, or the guest's root put together from
// its volumes. It keeps nothing open.
type View struct {
	root    *Volume
	top0    uint64            // the inode of its root folder; 0: that of the volume
	mounts  map[string]*mount // by path; of the guest's root only
	windows bool              // paths may have backslashes and a drive
	system  byte              // the letter of a Windows' own drive
	notes   []string          // on how the guest's root was put together

	noDrives error // why the letters of other drives are not known
}

// mount is a line of the guest's fstab. The volume is looked for when it is needed.
type mount struct {
	fstabEntry
	find func() (*Volume, error)
}

// View returns the tree of the volume by itself.
func (v *Volume) View() *View { return &View{root: v} }

// Place is a file or folder: an inode of a volume, by the path at which a view has it.
type Place struct {
	Volume *Volume
	Ino    uint64
	Path   string // in the view, absolute, without links
	Called string // the name of the link that led here, if it was one; what is made of it is called so
	view   *View
	mount  string // the path at which the volume is mounted; "" where the view begins
}

// Folder tells the folders of a view apart, as a key of maps: no two places in a sound guest
// have the same. A volume that is mounted twice has its folders twice.
type Folder struct {
	volume *Volume
	ino    uint64
	mount  string
}

// Folder is the place as a folder of its view.
func (p Place) Folder() Folder { return Folder{p.Volume, p.Ino, p.mount} }

// Root is the view's top folder.
func (w *View) Root() (Place, error) {
	p, err := w.top(w.root, nil, "/")
	if err == nil && w.top0 != 0 {
		p.Ino = w.top0
	}
	return p, err
}

// Volume is the one that holds the root.
func (w *View) Volume() *Volume { return w.root }

// Windows tells whether the view is that of a Windows guest.
func (w *View) Windows() bool { return w.windows }

// top is the root folder of a volume; of one that m mounts, what that shows.
func (w *View) top(v *Volume, m *mount, at string) (Place, error) {
	fs, err := v.FS()
	if err != nil {
		return Place{}, err
	}
	ino := fs.Root()
	if m != nil {
		ino, err = mountRoot(fs, m.options)
	}
	p := Place{Volume: v, Ino: ino, Path: at, view: w}
	if m != nil {
		p.mount = at
	}
	return p, err
}

// mounted returns what is mounted at that path: nil where nothing is.
func (w *View) mounted(at string) (*mount, *Volume, error) {
	m := w.mounts[at]
	if m == nil {
		return nil, nil, nil
	}
	v, err := m.find()
	if err != nil && m.has("noauto") {
		return nil, nil, nil // the guest may well have run without it
	}
	var gone *NotInPointError
	if errors.As(err, &gone) {
		return m, nil, &NotInPointError{What: w.shownAs(at) + " (" + m.device + ")", Why: gone.Why, Remote: gone.Remote}
	}
	if err != nil {
		return m, nil, err
	}
	return m, v, nil
}

// child is what p has under that name, whatever is mounted there.
func (p Place) child(name string) (Place, error) {
	at := path.Join(p.Path, name)
	m, v, err := p.view.mounted(at)
	if err != nil {
		return Place{}, err
	}
	if m != nil {
		return p.view.top(v, m, at)
	}
	fs, err := p.Volume.FS()
	if err != nil {
		return Place{}, err
	}
	ino, err := fs.Lookup(p.Ino, name)
	return Place{Volume: p.Volume, Ino: ino, Path: at, view: p.view, mount: p.mount}, err
}

// addMounts keeps what fstab says, but for the root itself. A device is looked for
// once.
func (w *View) addMounts(g *Guest, entries []fstabEntry) {
	w.mounts = map[string]*mount{}
	for _, e := range entries {
		if e.dir == "/" {
			continue
		}
		w.mounts[e.dir] = &mount{e, sync.OnceValues(func() (*Volume, error) {
			if e.remote() {
				return nil, &NotInPointError{What: e.device, Why: "it lies on another machine (" + e.kind + ")", Remote: true}
			}
			v, err := g.device(e.device)
			if err != nil {
				return nil, err
			}
			return v.shownBy(), nil
		})}
	}
}

// Locate finds the volume that holds a path by what is mounted, without looking into
// any, and the path within it.
func (w *View) Locate(name string) (*Volume, string, error) {
	name, err := w.plain(name)
	if err != nil {
		return nil, "", err
	}
	name = path.Clean("/" + name)
	for at := name; at != "/"; at = path.Dir(at) {
		m, v, err := w.mounted(at)
		if err != nil {
			return nil, "", err
		}
		if m != nil {
			return v, path.Clean("/" + name[len(at):]), nil
		}
	}
	return w.root, name, nil
}
