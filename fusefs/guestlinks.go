package fusefs

import (
	"slices"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
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
