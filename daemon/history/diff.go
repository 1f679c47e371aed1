package history

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// Side is one of two places that are compared.
type Side struct {
	Point  *blockstore.Point
	Volume string // in which the path is meant; "": the guest's root
	Path   string // links are followed
}

// DiffOptions of [Diff].
type DiffOptions struct {
	Keys *guestfs.Keys // open encrypted volumes; may be nil

	// Content: texts that differ are compared line by line.
	Content bool

	// Progress is told how many paths were compared; may be nil.
	Progress func(done int64)
}

// Bounds of a diff.
const (
	maxHeld  = 50_000  // differences that are kept to find out what was moved
	maxDepth = 1024    // of folders
	maxNames = 4 << 20 // in one folder
	maxSeen  = 4 << 20 // folders of a side, remembered to tell one that comes twice
)

// errHeld says that there are more differences than are kept.
var errHeld = errors.New("too many differences")

// Diff calls emit for each path that two places of one vault do not have alike, sorted
// by path, folders before what is in them. Where there are too many of them to find out what
// was moved, that is told as removed and added, and memory stays bounded. What cannot be
// read is told, too; the only errors are that a place cannot be reached, those of emit, those
// of ctx, and a *NotThereError. Times of folders, which change with what is in them, are not
// compared.
func Diff(ctx context.Context, v *blockstore.Vault, a, b Side, o DiffOptions, emit func(*api.FileDiff) error) (*api.FilesDiff, error) {
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	r := newRun(v, o.Keys)
	r.count(a.Point)
	r.count(b.Point)
	d := &differ{run: r, o: o, emit: emit, a: half{look: r.open(v, a.Point), Side: a}, b: half{look: r.open(v, b.Point), Side: b}}
	err := d.all(ctx)
	if errors.Is(err, errHeld) {
		d.held, d.total, d.plain = nil, api.FilesDiff{MovesLost: true}, true
		err = d.all(ctx)
	}
	if err != nil {
		return nil, err
	}
	d.total.Cost = r.cost()
	return &d.total, nil
}

// half is one side that is being walked.
type half struct {
	Side
	look   *look
	view   *guestfs.View
	top    string // the path, without links
	absent error  // why nothing is there
	seen   map[guestfs.Folder]struct{}
}

// node is a path of one side. rel is the path below the top.
type node struct {
	meta
	t    *half
	rel  string
	name string
	at   guestfs.Place
	err  error // why nobody can tell what it is
}

func (n *node) path() string { return path.Join(n.t.top, n.rel) }

func (n *node) is(kind uint32) bool { return n.err == nil && n.Mode&typeMask == kind }

// differ compares two sides.
type differ struct {
	*run
	o     DiffOptions
	emit  func(*api.FileDiff) error
	a, b  half
	total api.FilesDiff

	plain   bool // differences are told as they are found
	held    []held
	volumes map[[2]*guestfs.Volume]bool // whether two volumes are the same, once that was asked
	names   map[string]string           // of the volumes of a: those of b that are in their place
}

// held is a difference that is not told yet.
type held struct {
	api.FileDiff
	rel    string
	a, b   *node // of what was removed; of what was added
	opened bool  // what is in that folder is held, too
	gone   bool  // it became a part of another

	x, y *node // whose contents are to be compared line by line; nil: none
}

// all walks both sides, and tells what was held.
func (d *differ) all(ctx context.Context) error {
	d.volumes, d.names = map[[2]*guestfs.Volume]bool{}, map[string]string{}
	a, err := d.a.start()
	if err != nil {
		return err
	}
	b, err := d.b.start()
	if err != nil {
		return err
	}
	switch {
	case a == nil && b == nil, (a == nil || b == nil) && !samePath(d.a.Path, d.b.Path):
		return d.notThere(a, b)
	case a == nil:
		d.total.Missing = "a"
		err = d.added(ctx, b, 0)
	case b == nil:
		d.total.Missing = "b"
		err = d.removed(ctx, a, 0)
	default:
		err = d.pair(ctx, a, b, 0)
	}
	if err != nil || d.plain {
		return err
	}
	if err := d.match(ctx); err != nil {
		return err
	}
	return d.tell(ctx)
}

// start finds the top; nil where nothing is there.
func (t *half) start() (*node, error) {
	t.seen = map[guestfs.Folder]struct{}{}
	view, err := t.look.view(t.Volume)
	if err != nil {
		return nil, err
	}
	t.view = view
	at, err := view.Resolve(t.Path)
	if (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)) && !guestfs.IsUnreachable(err) {
		t.top, t.absent = path.Clean("/"+t.Path), err
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t.top = at.Path
	n := &node{t: t, at: at}
	n.meta, n.err = metaOf(at)
	return n, n.err
}

// enter tells that a folder is looked into, or why it is not.
func (n *node) enter(depth int) error {
	f := n.at.Folder()
	if _, again := n.t.seen[f]; again || depth > maxDepth || len(n.t.seen) >= maxSeen {
		return errors.New("the folder lies in several folders, in itself, or too deep")
	}
	n.t.seen[f] = struct{}{}
	return nil
}

// entry is a name in a folder. Of large folders there are many, and little is kept of each.
type entry struct {
	guestfs.Child
	err error
}

// children lists a folder by name.
func (n *node) children(ctx context.Context) (list []entry, err error) {
	for c, err := range n.at.Children() {
		if err != nil && c.Name == "" {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(list) == maxNames {
			return nil, fmt.Errorf("the folder has more than %d names, which are too many to compare", maxNames)
		}
		list = append(list, entry{c, err})
	}
	slices.SortFunc(list, func(x, y entry) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

// node reads what the inode of an entry of n says.
func (n *node) node(e entry) *node {
	c := &node{t: n.t, rel: path.Join(n.rel, e.Name), name: e.Name, err: e.err}
	if c.err == nil {
		c.at, c.err = e.Place()
	}
	if c.err == nil {
		c.meta, c.err = metaOf(c.at)
	}
	return c
}
