package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// walker lists all files of a guest.
type walker struct {
	ctx   context.Context
	names *sorter
	tell  func(names int64) // may be nil

	twin *twin    // nil: everything is read
	kept []Unread // volumes that are not read, since they did not change

	sum  Summary
	key  []byte
	body []byte
	seen map[*guestfs.Volume]bool // reached by the tree that is walked, or by one before
}

// Names that are told of together.
const tellEvery = 1 << 12

// maxNames is how many names of one point are listed at most.
const maxNames = 50_000_000

// walk lists a guest: its root, then volumes that the root does not reach. A panic of a reader
// is an error: guests write what readers read.
func (w *walker) walk(g *guestfs.Guest) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the guest's files cannot be read, a reader failed in a way that nobody expected, please report it: %v\n%s", fault, debug.Stack())
		}
	}()
	w.seen = map[*guestfs.Volume]bool{}
	root, err := g.Root()
	switch {
	case err == nil:
		if err := w.tree("", root); err != nil {
			return err
		}
	case !isOfTheGuest(err):
		return err
	default:
		if err := w.unread("", "/", err); err != nil {
			return err
		}
	}
	for _, v := range g.Volumes() {
		if err := w.volume(g, v); err != nil {
			return err
		}
	}
	return nil
}

// volume lists what is on a volume that no tree before reached. Of one that holds no files
// nothing is said, of one that may, why it cannot be read.
func (w *walker) volume(g *guestfs.Guest, v *guestfs.Volume) error {
	if w.seen[v] {
		return nil
	}
	_, err := v.FS()
	switch {
	case err == nil:
		return w.tree(v.Name, v.View())
	case !isOfTheGuest(err):
		return err
	case holdsNoFiles(g, v, err):
		return nil
	}
	return w.unread(v.Name, "/", err)
}

// holdsNoFiles tells volumes that are never mounted: what others lie on, swap, or nothing.
func holdsNoFiles(g *guestfs.Guest, v *guestfs.Volume, err error) bool {
	var locked *guestfs.UnreadableError
	id, _ := v.Identify()
	if errors.As(err, &locked) && locked.Locked {
		return false
	}
	if id.Type == "" || id.Type == "swap" || strings.HasSuffix(id.Type, "_member") || id.Type == "crypto_LUKS" {
		return true
	}
	for _, other := range g.Volumes() {
		if slices.Contains(other.On, v.Name) {
			return true
		}
	}
	return false
}

// tree lists one tree.
func (w *walker) tree(name string, view *guestfs.View) error {
	top, err := view.Root()
	if err != nil {
		if !isOfTheGuest(err) {
			return err
		}
		return w.unread(name, "/", err)
	}
	t := Tree{Name: name, Volumes: []Mounted{}}
	here := map[*guestfs.Volume]bool{}
	err = top.Walk(w.ctx, func(p guestfs.Place, a tree.Attr, err error) error {
		if err != nil {
			if !isOfTheGuest(err) {
				return err
			}
			return w.unread(name, p.Path, err)
		}
		if !here[p.Volume] {
			here[p.Volume] = true
			t.Volumes = append(t.Volumes, Mounted{p.Volume.Name, appendKey(nil, name, p.Path)})
			if w.twin.untouched(name, view, p) {
				w.kept = append(w.kept, Unread{Key: appendKey(nil, name, p.Path)})
				return fs.SkipDir
			}
		}
		return w.add(name, p.Path, a)
	})
	for v := range here {
		w.seen[v] = true
	}
	w.sum.Trees = append(w.sum.Trees, t)
	return err
}

func (w *walker) add(name, path string, a tree.Attr) error {
	w.key = appendKey(w.key[:0], name, path)
	if len(w.key) > maxKey {
		return w.unread(name, path[:maxKey/2], fmt.Errorf("its path has %d bytes", len(path)))
	}
	e := Entry{Key: w.key, Attr: attrOf(a)}
	w.body = encodeBody(w.body[:0], &e)
	if w.sum.Names == maxNames {
		return fmt.Errorf("it has more than %d files, which are too many to list", maxNames)
	}
	if w.sum.Names++; w.tell != nil && w.sum.Names%tellEvery == 0 {
		w.tell(w.sum.Names)
	}
	return w.names.add(e.Key, 0, w.body)
}

func attrOf(a tree.Attr) Attr {
	out := Attr{Mode: a.Mode, UID: a.UID, GID: a.GID, Size: max(a.Size, 0), Ino: a.Ino}
	if !a.Mtime.IsZero() {
		out.Timed, out.Sec, out.Nsec = true, a.Mtime.Unix(), uint32(a.Mtime.Nanosecond())
	}
	return out
}

func (w *walker) unread(name, path string, why error) error {
	if len(w.sum.Unread) == maxUnread {
		return fmt.Errorf("more than %d folders and files cannot be read", maxUnread)
	}
	text := why.Error()
	if len(text) > maxWhy {
		text = strings.ToValidUTF8(text[:maxWhy], "") + " ..."
	}
	w.sum.Unread = append(w.sum.Unread, Unread{Key: appendKey(nil, name, path), Why: text, Remote: guestfs.IsRemote(why)})
	return nil
}

// isOfTheGuest tells what is wrong with a guest, or with what the vault has of it, from what
// may be right the next time.
func isOfTheGuest(err error) bool {
	var hang *blockstore.HangError
	var system syscall.Errno
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.As(err, &hang) && !errors.As(err, &system)
}
