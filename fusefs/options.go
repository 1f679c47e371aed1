package fusefs

import (
	"cmp"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/fusefs/guestfs"
	gtree "github.com/holdfast-backup/holdfast/fusefs/guestfs/tree"
)

// Options of [Mount]. The zero value works: only the mounting user sees the mount.
type Options struct {
	// AllowOther lets every user of the host read the mount.
	AllowOther bool

	// Group is the id of a group that may read the mount beside the mounting
	// user, and nobody else, whatever AllowOther says; 0: none.
	Group int

	// Describe returns what point.json shows of a point. It is called once for
	// each time the kernel asks for the file anew, and must return equal values
	// for a point. nil: the point itself.
	Describe func(*blockstore.Point) any

	// Log is told of damaged data, points that cannot be shown, and a vault that
	// cannot be listed. nil: nothing is logged.
	Log *slog.Logger

	// ResolveLinks makes absolute links of guests lead to where they lead in the guest,
	// within the mount, instead of into the host's own tree.
	ResolveLinks bool

	// Keys open encrypted volumes of guests; nil: they stay locked.
	Keys *guestfs.Keys

	// Busy is told who keeps the mount from being taken down after the context of
	// [Mount] ended, at first and whenever that changes. nil: Log is told.
	Busy func(error)

	// ReadAhead is how far the kernel reads ahead, in bytes, where this process may
	// set that (root); 0: 4 MiB.
	ReadAhead int

	// Refresh is the time between two looks at the vault's points; 0: 2 s.
	Refresh time.Duration

	// FsName is the name of the device that df and mount show; "": holdfast:
	// and the vault's name.
	FsName string

	// helperOnly mounts by fusermount3 even where mount(2) would do.
	helperOnly bool

	// formats are the file systems that are read, of tests; nil: all.
	formats []gtree.Format
}

func (o Options) withDefaults(info blockstore.VaultInfo) Options {
	if o.Describe == nil {
		o.Describe = func(p *blockstore.Point) any { return p }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Busy == nil {
		log := o.Log
		o.Busy = func(err error) { log.Warn("the mount cannot be taken down yet", "error", err) }
	}
	o.ReadAhead = cmp.Or(o.ReadAhead, 4<<20)
	o.Refresh = cmp.Or(o.Refresh, 2*time.Second)
	o.FsName = plain(cmp.Or(o.FsName, "holdfast:"+info.Name))
	return o
}

// shared tells whether users other than the mounting one get in.
func (o *Options) shared() bool { return o.AllowOther || o.Group != 0 }

// owner returns the ids that every file shows.
func (o *Options) owner() (uid, gid uint32) {
	gid = uint32(os.Getegid())
	if o.Group != 0 {
		gid = uint32(o.Group)
	}
	return uint32(os.Geteuid()), gid
}

// modes returns the permissions of folders and files.
func (o *Options) modes() (dir, file uint32) {
	switch {
	case o.Group != 0:
		return 0o550, 0o440
	case o.AllowOther:
		return 0o555, 0o444
	}
	return 0o500, 0o400
}

// plain replaces what has a meaning in a list of mount options or in mountinfo.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == ',' || r == '\\' || r == 0x7f {
			return '_'
		}
		return r
	}, s)
}
