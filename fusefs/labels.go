package fusefs

import (
	"errors"
	"io/fs"

	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// selinux is the attribute that ls asks for each file that it lists at length, whether the host has
// SELinux or not. Where it hears that a file has none it asks for that of the next one; where it hears
// that such attributes are not kept it does not ask again. Of the time of a long listing more than nine
// tenths are such questions, a round trip each: half of them are about this, half about ACLs,
// which any file may have.
const selinux = "security.selinux"

// labels tells whether a guest labels its files: then its root has a label; or the root of the volume,
// where there is no root of a guest. What cannot be told is that it does.
func (g *guests) labels(s *shown, own gtree.FileSystem) bool {
	g.mu.Lock()
	labels, known := g.labelled[s]
	g.mu.Unlock()
	if known {
		return labels
	}
	top := own.Root()
	if root := g.root(s.point); root != nil {
		at, err := root.Root()
		if err == nil {
			own, err = at.Volume.FS()
		}
		if err != nil {
			return true
		}
		top = at.Ino
	}
	_, err := own.Xattr(top, selinux)
	labels = !errors.Is(err, fs.ErrNotExist)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.labelled[s] = labels
	return labels
}
