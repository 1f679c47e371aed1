package guestfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Root returns the guest's root, put together from its fstab: the volume that holds
// /etc/fstab, or that of Windows. It is sought once. A *NotInPointError where none of
// the volumes that can be read is it, an *UnreadableError where one that is locked may be.
func (g *Guest) Root() (*View, error) {
	g.rootMu.Lock()
	defer g.rootMu.Unlock()
	if !g.sought {
		g.root, g.noRoot = g.findRoot()
		var gone *NotInPointError
		var shut *UnreadableError
		g.sought = g.noRoot == nil || errors.As(g.noRoot, &gone) || errors.As(g.noRoot, &shut) // others may pass
	}
	return g.root, g.noRoot
}

// findRoot looks at the likely volumes first, so that others stay closed. One whose
// fstab says that it is the root is believed at once; without any, the first that has
// an fstab, then what looks like a root.
func (g *Guest) findRoot() (*View, error) {
	var second, third *View
	var why []string
	for _, v := range g.likely() {
		for _, w := range v.rootViews() {
			text, err := w.readFile("etc/fstab")
			switch {
			case err == nil:
				entries := parseFstab(text)
				w.readCrypttab(g)
				w.addMounts(g, entries)
				if g.saysRoot(w, entries) {
					return w, nil
				}
				if second == nil {
					second = w
				}
			case errors.Is(err, fs.ErrNotExist):
				if third == nil && w.looksLikeRoot() {
					third = w
				}
			default:
				why = append(why, err.Error())
			}
		}
	}
	switch {
	case second != nil:
		return second, nil
	case third != nil:
		if third.windows {
			third.addDrives(g)
		}
		return third, nil
	}
	if len(g.Volumes()) == 0 {
		why = append(why, "its disks hold no volume")
	}
	if err := g.mayLieLocked("the guest's root"); err != nil {
		return nil, err
	}
	return nil, &NotInPointError{What: "the guest's root", Why: joinNonEmpty("; ", "no volume holds /etc/fstab or Windows",
		strings.Join(why, "; "), leftOut(g.o.Missing))}
}

// saysRoot tells whether an fstab names the tree that it lies in as the root.
func (g *Guest) saysRoot(w *View, entries []fstabEntry) bool {
	for _, e := range entries {
		if e.dir == "/" {
			root, err := g.device(e.device)
			return err == nil && root.shownBy() == w.root && w.shows(e)
		}
	}
	return false
}

// looksLikeRoot tells a root without an fstab: Windows, or Linux that mounts by the
// types of partitions.
func (w *View) looksLikeRoot() bool {
	if w.root.backslashes() {
		if at, err := w.Resolve("Windows/System32"); err == nil {
			mode, err := at.mode()
			w.windows = err == nil && mode == typeDir
		}
		return w.windows
	}
	for _, name := range []string{"etc/os-release", "usr/lib/os-release", "etc/passwd"} {
		if _, err := w.ResolveLink(name); err == nil {
			return true
		}
	}
	return false
}

// likely sorts the volumes that could hold a root: those that say so by the type of
// their partition or by their name first, EFI's own partition last.
func (g *Guest) likely() []*Volume {
	list := slices.Clone(g.Volumes())
	rank := func(v *Volume) int {
		id, _ := v.Identify()
		switch {
		case v.Partition != nil && slices.Contains(rootTypes, v.Partition.Type), strings.HasSuffix(v.Name, "-root"), strings.Contains(id.Label, "root"):
			return 0
		case id.Type == "vfat":
			return 3
		case id.Type == "ntfs":
			return 2
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b *Volume) int { return rank(a) - rank(b) })
	return list
}

// rootTypes are partition types of roots, of the Discoverable Partitions Specification:
// x86-64, arm64.
var rootTypes = []string{"4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "b921b045-1df0-41c3-af44-4c6f280d3fae"}

// readFile reads a small text of the guest.
func (w *View) readFile(name string) (string, error) {
	at, err := w.Resolve(name)
	if err != nil {
		return "", err
	}
	f, size, err := at.Open()
	if err != nil {
		return "", err
	}
	b := make([]byte, min(size, maxFstab))
	if n, err := f.ReadAt(b, 0); n < len(b) && (err == nil || errors.Is(err, io.EOF)) {
		b = b[:n]
	} else if n < len(b) {
		return "", err
	}
	return string(b), nil
}

// MountedAt says where the guest has a volume, as far as its root can be read.
func (g *Guest) MountedAt(v *Volume) []string {
	w, err := g.Root()
	if err != nil {
		return nil
	}
	var at []string
	if w.root == v {
		at = append(at, w.rootName())
	}
	for dir, m := range w.mounts {
		if found, err := m.find(); err == nil && found == v && !strings.HasPrefix(dir, "/volume{") {
			at = append(at, w.shownAs(dir))
		}
	}
	slices.Sort(at)
	return at
}

// rootName is how the guest calls its root.
func (w *View) rootName() string {
	if w.windows {
		return string(w.system) + ":"
	}
	return "/"
}

// shownAs is how the guest calls what is mounted at a path of the view.
func (w *View) shownAs(at string) string {
	if isDrive(at) {
		return at[1:]
	}
	return at
}
