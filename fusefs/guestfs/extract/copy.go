package extract

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Copy copies places, with what is in them, to target as cp(1) does: into it where it is a
// folder or ends with a slash, else one place under that very name. An error is one of the
// target, or the context's; what could not be taken of the guest is in the result.
func Copy(ctx context.Context, places []guestfs.Place, target string, o Options) (r Result, err error) {
	into, name, err := destination(target, len(places))
	if err != nil {
		return r, err
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return r, fmt.Errorf("open the target: %w", err)
	}
	c := &copier{ctx: ctx, o: o, r: &r, top: root, links: map[inode]string{}, root: os.Geteuid() == 0}
	dir, err := newFolder(root, "")
	if err != nil {
		return r, err
	}
	defer dir.close()
	for _, p := range places {
		as := name
		if as == "" {
			if as = p.Name(); as == "/" {
				as = "."
			}
		}
		c.seen = map[guestfs.Folder]bool{} // one place may lie in another
		if err := c.place(dir, as, p); err != nil {
			return r, err
		}
	}
	for what, n := range r.noted {
		r.Notes = append(r.Notes, fmt.Sprintf("%d %s", n, what))
	}
	return r, nil
}

// destination says in which folder, and under which name: "" for that of each place.
func destination(target string, places int) (into, name string, err error) {
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return target, "", nil
	case err == nil && (places > 1 || strings.HasSuffix(target, "/")):
		return "", "", fmt.Errorf("%s is no folder", target)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", "", err
	case err != nil && (places > 1 || strings.HasSuffix(target, "/")):
		return target, "", os.MkdirAll(target, 0o777)
	}
	return filepath.Dir(target), filepath.Base(target), nil
}

// inode is one file, however many names it has.
type inode struct {
	volume *guestfs.Volume
	ino    uint64
}

// Bounds of what is remembered of a guest.
const (
	maxLinked  = 1 << 20
	maxFolders = 4 << 20
	maxDepth   = 512 // folders that are open at once
)

type copier struct {
	ctx   context.Context
	o     Options
	r     *Result
	top   *os.Root
	links map[inode]string        // files of several names that were copied: the first path, from top
	seen  map[guestfs.Folder]bool // of the place that is copied
	depth int
	root  bool
}

// place copies p under a name of dir. Errors are fatal ones.
func (c *copier) place(dir *folder, name string, p guestfs.Place) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	a, err := p.Stat()
	if err == nil && name != "." && (name == ".." || name == "" || strings.ContainsAny(name, "/\x00")) {
		err = fmt.Errorf("%q is no name of a file", name)
	}
	if err == nil {
		err = c.kind(dir, name, p, a)
	}
	if err == nil || errors.Is(err, errLeftOut) {
		return nil
	}
	if stop := (*fatalError)(nil); errors.As(err, &stop) || c.ctx.Err() != nil {
		return err
	}
	c.r.problem(p.Path, err)
	return nil
}

// errLeftOut says that something was not made, by rule, and that this was noted.
var errLeftOut = errors.New("left out by rule")

// fatalError is one that ends the copy.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// target tells errors of the target: those that end the copy from those of one name.
func target(err error) error {
	if err != nil && fatal(err) {
		return &fatalError{fmt.Errorf("write to the target: %w", err)}
	}
	return held(err)
}

func (c *copier) kind(dir *folder, name string, p guestfs.Place, a tree.Attr) error {
	switch a.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.folder(dir, name, p, a)
	case unix.S_IFREG:
		return c.named(dir, name, p, a, c.file)
	case unix.S_IFLNK:
		return c.named(dir, name, p, a, c.symlink)
	}
	return c.named(dir, name, p, a, c.special)
}

// named has an inode made that has no name in the copy yet, and links to it under its other
// names: links and devices may have several, too.
func (c *copier) named(dir *folder, name string, p guestfs.Place, a tree.Attr, do func(*folder, string, guestfs.Place, tree.Attr) error) error {
	if !c.o.AsIs || a.Nlink < 2 {
		return do(dir, name, p, a)
	}
	id := inode{p.Volume, p.Ino}
	first, ok := c.links[id]
	if !ok {
		err := do(dir, name, p, a)
		if err == nil && len(c.links) < maxLinked {
			c.links[id] = filepath.Join(dir.path, name)
		}
		return err
	}
	if err := dir.clear(name, c.o.Replace); err != nil {
		return target(err)
	}
	if err := c.top.Link(first, filepath.Join(dir.path, name)); err != nil {
		return target(err)
	}
	c.r.Links++
	return nil
}

func (c *copier) folder(dir *folder, name string, p guestfs.Place, a tree.Attr) error {
	id := p.Folder()
	if c.seen[id] || c.depth >= maxDepth || len(c.seen) >= maxFolders {
		return &tree.CorruptError{What: "folder " + p.Path, Why: "it lies in several folders, in itself, or too deep", At: -1}
	}
	c.seen[id] = true
	perm := os.FileMode(0o700)
	if !c.o.AsIs {
		perm |= os.FileMode(a.Mode & 0o777)
	}
	sub, made, err := dir.enter(name, perm)
	if err != nil {
		return target(err)
	}
	defer sub.close()
	c.depth++
	defer func() { c.depth-- }()
	for child, err := range p.Children() {
		if err != nil && child.Name == "" {
			c.r.problem(p.Path, err)
			break
		}
		at := guestfs.Place{Path: p.Path + "/" + child.Name}
		if err == nil {
			at, err = child.Place()
		}
		if err != nil {
			c.r.problem(strings.ReplaceAll(p.Path+"/"+child.Name, "//", "/"), err)
			continue
		}
		if err := c.place(sub, child.Name, at); err != nil {
			return err
		}
	}
	if made {
		c.r.Folders++
	}
	c.streams(p)
	return c.finish(sub.file, dir, name, p, a)
}

// symlink makes a link. One that leads out of the copy could later have somebody read or
// write elsewhere: it is kept only as is.
func (c *copier) symlink(dir *folder, name string, p guestfs.Place, a tree.Attr) error {
	to, err := p.Readlink()
	if err != nil {
		return err
	}
	if !c.o.AsIs && !staysIn(dir.path, to) {
		return fmt.Errorf("the link leads out of the copy, to %q: it is kept with --as-is", to)
	}
	if err := dir.clear(name, c.o.Replace); err != nil {
		return target(err)
	}
	if err := unix.Symlinkat(to, dir.fd(), name); err != nil {
		return target(err)
	}
	c.r.Links++
	return c.finish(nil, dir, name, p, a)
}

// staysIn tells that a link in dir, a path from where the copy begins, leads to what lies below
// that. A ".." behind a name is believed nowhere: that name may be a link itself.
func staysIn(dir, to string) bool {
	if filepath.IsAbs(to) || !filepath.IsLocal(filepath.Join(dir, to)) {
		return false
	}
	down := false
	for _, name := range strings.Split(to, "/") {
		switch name {
		case "", ".":
		case "..":
			if down {
				return false
			}
		default:
			down = true
		}
	}
	return true
}

// special makes a device, pipe or socket, as is.
func (c *copier) special(dir *folder, name string, _ guestfs.Place, a tree.Attr) error {
	kind := a.Mode & unix.S_IFMT
	switch {
	case !c.o.AsIs:
		c.r.note("devices, pipes and sockets were left out: they are kept with --as-is")
		return errLeftOut
	case kind != unix.S_IFIFO && kind != unix.S_IFSOCK && !c.root:
		c.r.note("devices were left out: root alone may make them")
		return errLeftOut
	case kind != unix.S_IFIFO && kind != unix.S_IFSOCK && kind != unix.S_IFBLK && kind != unix.S_IFCHR:
		return fmt.Errorf("it is of a kind that is not known (mode %o)", a.Mode)
	}
	if err := dir.clear(name, c.o.Replace); err != nil {
		return target(err)
	}
	if err := unix.Mknodat(dir.fd(), name, kind|0o600, int(unix.Mkdev(a.Major, a.Minor))); err != nil {
		return target(err)
	}
	return c.finish(nil, dir, name, guestfs.Place{}, a)
}
