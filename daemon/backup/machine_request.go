package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
)

// MachineRequest says which protected machine is backed up, and how.
type MachineRequest struct {
	Machine blockstore.Machine // as its record is
	Tool    string             // program and version, for the record

	// Open reaches the VM, again for each attempt. Whoever called it closes the VM.
	Open func(ctx context.Context, p *blockstore.Protection) (VM, error)

	// Journal and Guard see to it that a guest is thawed whatever becomes of this
	// process. Without a Journal no guest is frozen.
	Journal *quiesce.Journal
	Guard   quiesce.Guard

	Scan           bool  // believe no bitmap
	IncludeSecrets bool  // of libvirt's XML
	SkipUnchanged  bool  // of images: see Request
	Rate           int64 // bytes a second that are read at most; 0: no limit
	Depth          int   // reads of a disk that are under way at once; 0: as many as keep all processors at work
	WriteRate      int64 // bytes a second that are added to the vault at most; 0: no limit
	FallBack       bool  // to what consistency there is, whatever the machine's record says

	// Progress is told how far the run has come, by many goroutines at once; it
	// must be quick. It may be nil.
	Progress func(Progress)

	// Retries are the pauses before further attempts after a failure that may pass;
	// nil: a few, of some seconds.
	Retries []time.Duration
}

// The phases of a backup.
const (
	PhaseClean    = "clean-up"
	PhaseQuiesce  = "quiesce"
	PhaseSnapshot = "snapshot"
	PhaseRead     = "read"
	PhaseStore    = "store"
	PhaseCommit   = "commit"
)

// usualRetries bridge a monitor that somebody else holds for a moment and a libvirtd
// that is restarted.
var usualRetries = []time.Duration{2 * time.Second, 8 * time.Second, 20 * time.Second}

// releaseTimeout is how long a snapshot has to be taken away, whatever became of the
// run, and cleanTimeout what was left of another.
const (
	releaseTimeout = 2 * time.Minute
	cleanTimeout   = time.Minute
)

// ErrGone is wrapped where the VM of a machine is not on this host any more.
var ErrGone = errors.New("the VM is gone from this host (migrated?)")

// ErrNotProtected reports a machine of which nobody said how it is backed up.
var ErrNotProtected = errors.New("is not protected")

// IdentityError reports that another VM is where a machine's VM was.
type IdentityError struct {
	Machine   string
	Then, Now blockstore.VM
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("machine %s stands for VM %s, and what is there now is another one: VM %s", e.Machine, nameVM(e.Then), nameVM(e.Now))
}

// nameVM names a VM for people.
func nameVM(v blockstore.VM) string {
	switch {
	case v.UUID == "":
		return fmt.Sprintf("%q", v.Name)
	case v.Name == "":
		return v.UUID
	}
	return fmt.Sprintf("%q (%s)", v.Name, v.UUID)
}

// Identify tells whether a VM is the one that a machine stands for, and whether it is
// called otherwise now. Without UUIDs the name must be the same. Errors: *IdentityError.
func Identify(machine string, then, now blockstore.VM) (renamed bool, err error) {
	switch {
	case then.UUID != "" && now.UUID != "":
		if then.UUID != now.UUID {
			return false, &IdentityError{machine, then, now}
		}
	case then.UUID != now.UUID && now.Kind != blockstore.KindImages:
		return false, &IdentityError{machine, then, now} // one of them has none
	case then.Name != "" && now.Name != "" && then.Name != now.Name:
		return false, &IdentityError{machine, then, now}
	}
	return now.Name != "" && then.Name != now.Name, nil
}
