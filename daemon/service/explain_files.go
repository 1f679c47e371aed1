package service

import (
	"errors"
	"syscall"

	"github.com/holdfast-backup/holdfast/daemon/catalogue"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// classifyFiles knows what is met in a guest's files; false for anything else.
func classifyFiles(err error) (kind string, exit int, hint string, ok bool) {
	var missing *guestfs.NotInPointError
	var unreadable *guestfs.UnreadableError
	var damaged *tree.CorruptError
	switch {
	case errors.As(err, &damaged) && damaged.Short > 0:
		return "guest-damaged", exitDamaged, "the disk, its image or the partition was made smaller than what lies in it; what lies before the end can be read and copied, other points may hold the rest", true
	case damaged != nil:
		return "guest-damaged", exitDamaged, "the guest's own file system is damaged there, or its disk was; other paths are not harmed, and other points may be whole", true
	case errors.As(err, &missing):
		return "not-in-point", exitNotFound, "`holdfast volumes MACHINE@POINT` lists what the point holds", true
	case errors.As(err, &unreadable) && unreadable.Locked:
		return "volume-locked", exitRefused, unreadable.Advice, true
	case errors.As(err, &unreadable):
		return "volume-unreadable", exitNotFound, unreadable.Advice, true
	case errors.As(err, new(*guestfs.NoVolumeError)), errors.As(err, new(*catalogue.NoTreeError)):
		return "volume-not-found", exitNotFound, "`holdfast volumes MACHINE@POINT` lists what the point holds", true
	case errors.As(err, new(*tree.UnsupportedError)):
		return "guest-unsupported", exitFailed, "restore or mount the disk itself, and read it with the guest's own tools", true
	case errors.As(err, new(*guestfs.AbsentError)):
		return "no-such-file", exitNotFound, "`holdfast ls` lists what a folder holds, `holdfast find MACHINE@POINT --name NAME` where a name lies; other points may hold more", true
	case errors.Is(err, syscall.ELOOP):
		return "too-many-links", exitNotFound, "the guest itself could not open that", true
	case errors.Is(err, syscall.ENOTDIR):
		return "not-a-folder", exitNotFound, "", true
	}
	return "", 0, "", false
}
