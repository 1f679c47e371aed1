package fusefs

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// maxGuestFaults is how many faults of one volume are logged: a guest can make any
// number of them.
const maxGuestFaults = 20

// guestErrno is errno for what is met in a volume.
//
//	no such file                        ENOENT
//	damaged by the guest, or hostile    EIO, logged
//	not to be read here                 EOPNOTSUPP, logged
//	anything else                       as errno has it
func (t *tree) guestErrno(err error, s *shown) syscall.Errno {
	var corrupt *gtree.CorruptError
	switch {
	case err == nil:
		return 0
	case errors.As(err, new(*blockstore.CorruptError)):
		return t.errno(err, s.point, filesName+"/"+s.volume)
	case errors.As(err, &corrupt):
		t.guestFault(err, s, "a guest's file system is damaged")
		return syscall.EIO
	case errors.As(err, new(*gtree.UnsupportedError)), guestfs.IsUnreachable(err):
		t.guestFault(err, s, "a guest's file cannot be shown")
		return syscall.EOPNOTSUPP
	case errors.Is(err, errGone):
		return syscall.ESTALE
	case errors.Is(err, fs.ErrNotExist):
		return syscall.ENOENT
	}
	return t.errno(err, s.point, filesName+"/"+s.volume)
}

func (t *tree) guestFault(err error, s *shown, msg string) {
	key := fmt.Sprintf("guest %s %s", s.point.ID, s.volume)
	if !t.faults.first(key + err.Error()) {
		return
	}
	for i := range maxGuestFaults {
		if t.faults.first(fmt.Sprintf("%s fault %d", key, i)) {
			if i == maxGuestFaults-1 {
				msg += "; further faults of this volume are not logged"
			}
			t.o.Log.Warn(msg, "machine", s.point.MachineName, "point", string(s.point.ID), "volume", s.volume, "error", err)
			return
		}
	}
}
