package guestfs

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Bounds of a path: links that are followed, as Linux has it, and names in all.
const (
	maxLinks = 40
	maxNames = 4096
	typeMask = 0o170000
	typeDir  = 0o040000
	typeLink = 0o120000
	typeFile = 0o100000
)

// Resolve finds a path; links are followed within the view, whose root is theirs.
// Errors are *fs.PathError: fs.ErrNotExist, a *NotInPointError where the path leads
// to a volume that is not here, and so on.
func (w *View) Resolve(name string) (Place, error) { return w.resolve(name, true) }

// ResolveLink is Resolve without following the last name, if it is a link.
func (w *View) ResolveLink(name string) (Place, error) { return w.resolve(name, false) }

func (w *View) resolve(name string, follow bool) (Place, error) {
	plain, err := w.plain(name)
	if err != nil {
		return Place{}, err
	}
	at, err := w.steps(plain, follow)
	if err != nil {
		return Place{}, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if follow {
		at.Called = w.linkName(plain)
	}
	return at, nil
}

// linkName is the last name of a path if that is a link, "" if it is none.
func (w *View) linkName(plain string) string {
	link, err := w.steps(strings.TrimRight(plain, "/"), false)
	if err != nil {
		return ""
	}
	if mode, err := link.mode(); err != nil || mode != typeLink {
		return ""
	}
	return link.Name()
}

// plain is a path as Linux writes it, within the view. Windows has backslashes, and the
// letter of a drive before.
func (w *View) plain(name string) (string, error) {
	if !w.windows && !w.root.backslashes() {
		return name, nil
	}
	return w.windowsPath(name)
}

// backslashes tells file systems in whose names no backslash can stand.
func (v *Volume) backslashes() bool {
	id, err := v.Identify()
	return err == nil && (id.Type == "ntfs" || id.Type == "vfat")
}

// steps walks name by name. todo holds the names still to go, the next one last.
func (w *View) steps(name string, follow bool) (Place, error) {
	root, err := w.Root()
	if err != nil {
		return Place{}, err
	}
	here, todo := []Place{root}, pushNames(nil, name)
	folder := strings.HasSuffix(name, "/")
	for links := 0; len(todo) > 0; {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		now := here[len(here)-1]
		if next == ".." {
			here = here[:max(w.base(here), len(here)-1)]
			continue
		}
		if mode, err := now.mode(); err != nil {
			return Place{}, err
		} else if mode != typeDir {
			return Place{}, syscall.ENOTDIR
		}
		child, err := now.child(next)
		if errors.Is(err, fs.ErrNotExist) {
			return Place{}, &AbsentError{next, now.Path}
		}
		if err != nil {
			return Place{}, err
		}
		last := len(todo) == 0 && !follow && !folder
		if mode, err := child.mode(); err != nil {
			return Place{}, err
		} else if mode != typeLink || last {
			here = append(here, child)
			continue
		}
		target, err := child.Readlink()
		if err != nil {
			return Place{}, err
		}
		if links++; links > maxLinks || len(todo)+len(here) > maxNames || len(target) > 1<<16 {
			return Place{}, syscall.ELOOP
		}
		stored := target
		if target, err = w.plain(target); err != nil {
			return Place{}, err
		}
		switch {
		case target != strings.ReplaceAll(stored, `\`, "/"): // it named a drive
			here = here[:1]
		case strings.HasPrefix(target, "/"):
			here = here[:w.base(here)]
		}
		todo = pushNames(todo, target)
	}
	end := here[len(here)-1]
	if mode, err := end.mode(); folder && err == nil && mode != typeDir {
		return Place{}, syscall.ENOTDIR
	}
	return end, nil
}

// base is how many places are above where a path is: the root, and the drive that it is on.
func (w *View) base(here []Place) int {
	if w.windows && len(here) > 1 && isDrive(here[1].Path) {
		return 2
	}
	return 1
}

func pushNames(todo []string, name string) []string {
	parts := strings.Split(name, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i] != "" && parts[i] != "." {
			todo = append(todo, parts[i])
		}
	}
	return todo
}

func (p Place) mode() (uint32, error) {
	a, err := p.Stat()
	return a.Mode & typeMask, err
}

// Beside is what has another name in the folder of p; links are not followed.
func (p Place) Beside(name string) (Place, error) {
	dir, err := p.view.steps(path.Dir(p.Path), true)
	if err != nil {
		return Place{}, err
	}
	return dir.child(name)
}

// Name is the last name of the path, "/" for the root; or what it was Called.
func (p Place) Name() string {
	if p.Called != "" {
		return p.Called
	}
	return path.Base(p.Path)
}

// Stat returns the metadata of the inode.
func (p Place) Stat() (tree.Attr, error) {
	fs, err := p.Volume.FS()
	if err != nil {
		return tree.Attr{}, err
	}
	return fs.Stat(p.Ino)
}

// Readlink returns the target of a link as it is stored.
func (p Place) Readlink() (string, error) {
	fs, err := p.Volume.FS()
	if err != nil {
		return "", err
	}
	return fs.Readlink(p.Ino)
}

// Open returns the content of a regular file. What is none is an error: a device of the
// guest is never opened.
func (p Place) Open() (tree.File, int64, error) {
	a, err := p.Stat()
	if err != nil {
		return nil, 0, err
	}
	switch a.Mode & typeMask {
	case typeFile:
	case typeDir:
		return nil, 0, &fs.PathError{Op: "read", Path: p.Path, Err: syscall.EISDIR}
	default:
		return nil, 0, &fs.PathError{Op: "read", Path: p.Path, Err: fmt.Errorf("it is no regular file: %w", fs.ErrInvalid)}
	}
	fsys, err := p.Volume.FS()
	if err != nil {
		return nil, 0, err
	}
	f, err := fsys.Open(p.Ino)
	return f, a.Size, err
}

// Child is an entry of a folder.
type Child struct {
	Name string
	Type uint32 // S_IFMT bits; 0 where the folder does not tell
	at   Place  // Ino is 0 where something is mounted
}

// Place finds what the entry names: what is mounted there, where something is.
func (c Child) Place() (Place, error) {
	if c.at.Ino != 0 {
		return c.at, nil
	}
	m, v, err := c.at.view.mounted(c.at.Path)
	if err != nil {
		return Place{}, err
	}
	if m == nil {
		dir := c.at
		dir.Path = path.Dir(c.at.Path)
		return dir, fs.ErrNotExist
	}
	return c.at.view.top(v, m, c.at.Path)
}

// Children yields the entries of a folder as tree.FileSystem.ReadDir does.
func (p Place) Children() iter.Seq2[Child, error] {
	return func(yield func(Child, error) bool) {
		fs, err := p.Volume.FS()
		if err != nil {
			yield(Child{}, err)
			return
		}
		for e, err := range fs.ReadDir(p.Ino) {
			c := Child{e.Name, e.Type, Place{Volume: p.Volume, Ino: e.Ino, Path: path.Join(p.Path, e.Name), view: p.view, mount: p.mount}}
			if p.view.mounts[c.at.Path] != nil && err == nil {
				if m, _, err := p.view.mounted(c.at.Path); m != nil || err != nil {
					c.at.Ino = 0
				}
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// MountsBelow tells whether the view has other volumes below a folder.
func (w *View) MountsBelow(dir string) bool {
	dir = strings.TrimSuffix(path.Clean("/"+dir), "/") + "/"
	for at := range w.mounts {
		if strings.HasPrefix(at+"/", dir) && at+"/" != dir {
			return true
		}
	}
	return false
}
