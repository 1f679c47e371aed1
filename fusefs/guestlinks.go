package fusefs

import (
	"path"
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
)

// resolved is where the absolute target of a link lies in the mount: on the volume that
// the guest has there or, of a volume that is not part of the guest's root, on that
// volume. A target that the point does not hold stays as it is.
func (t *tree) resolved(s *shown, target string) string {
	folder := t.folderOf(s.point)
	if folder == "" {
		return target
	}
	guest := t.guests.guest(s.point)
	in := folder + "/" + filesName + "/"
	if s.mount != "" {
		return t.resolvedInRoot(s, in+rootName, target)
	}
	v, err := guest.Volume(s.volume)
	if err != nil {
		return target
	}
	if len(guest.MountedAt(v)) == 0 {
		return in + s.volume + target
	}
	root, err := guest.Root()
	if err != nil {
		return target
	}
	on, rest, err := root.Locate(target)
	if err != nil {
		return target
	}
	return strings.TrimSuffix(in+on.Name+rest, "/")
}

// resolvedInRoot is resolved for a link in the guest's root: the target lies there, too.
func (t *tree) resolvedInRoot(s *shown, in, target string) string {
	root, err := t.guests.guest(s.point).Root()
	if err != nil || !root.Windows() {
		return strings.TrimSuffix(in+path.Clean(target), "/")
	}
	at, drive := path.Clean(target), s.mount
	if letter := strings.TrimPrefix(at, "/"); len(letter) >= 2 && letter[1] == ':' {
		drive, at = "/"+strings.ToUpper(letter[:1])+":", letter[2:]
	} else if strings.HasPrefix(strings.ToLower(letter), "volume{") {
		on, rest, err := root.Locate(at)
		i := slices.IndexFunc(root.Mounts(), func(m guestfs.Mount) bool { return m.Volume == on })
		switch {
		case err != nil:
			return target
		case on == root.Volume():
			drive, at = "/", rest
		case i < 0:
			return strings.TrimSuffix(strings.TrimSuffix(in, rootName)+on.Name+rest, "/")
		default:
			drive, at = root.Mounts()[i].At, rest
		}
	}
	if drive == "/" {
		drive = "/" + root.Drives()[0]
	}
	return strings.TrimSuffix(in+strings.TrimSuffix(drive, ":")+at, "/")
}

// folderOf is the path of a point's folder, "" when it is not shown any more.
func (t *tree) folderOf(p *blockstore.Point) string {
	m := t.current.Load().byID[p.Machine]
	if m == nil {
		return ""
	}
	i := slices.IndexFunc(m.points, func(e *pointEntry) bool { return e.ID == p.ID })
	if i < 0 {
		return ""
	}
	return t.path + "/" + m.folder + "/" + m.points[i].folder
}
