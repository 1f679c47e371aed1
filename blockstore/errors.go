package blockstore

import (
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/blockstore/backend"
)

// Errors that callers tell apart.
var (
	ErrNotFound  = errors.New("not found")
	ErrAmbiguous = errors.New("fits several")
	ErrExists    = errors.New("exists already")
	ErrNotVault  = errors.New("not a vault")
	ErrVersion   = errors.New("written by a version that this program does not know")
	ErrFull      = backend.ErrFull
)

// CorruptError reports content that cannot be read back as it was stored. The
// fields that are known are set: a page harms a range of a disk, a block one
// place in it.
type CorruptError struct {
	Machine string  // name of the machine
	Point   PointID // recovery point
	Disk    string  // name of the disk
	Offset  int64   // first byte harmed, in the disk
	Length  int64   // bytes harmed
	Err     error   // what was found
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("damaged data: machine %s, point %s, disk %s, offset %d, %d bytes: %v",
		e.Machine, e.Point, e.Disk, e.Offset, e.Length, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// BusyError reports a vault whose owner is another process or another host.
type BusyError struct {
	Vault string
	Owner Ownership // what the owner said of itself
	// OtherHost is set when the owner belongs to another host: waiting does not
	// help then.
	OtherHost bool
	// State is what the owner's process is held up by: "stopped", "waiting for a
	// disk that does not answer", or "" when it runs or that is not known.
	State string
	// Lost is set when this process was the owner until the vault was taken over.
	Lost bool
}

func (e *BusyError) Error() string {
	since := e.Owner.Opened.UTC().Format("2006-01-02T15:04:05Z")
	switch {
	case e.Lost:
		return fmt.Sprintf("vault %s was taken over by host %s (pid %d, %s) at %s", e.Vault, e.Owner.Host, e.Owner.PID, e.Owner.Command, since)
	case e.OtherHost:
		return fmt.Sprintf("vault %s belongs to host %s (writer %s, last opened at %s by pid %d, %s)",
			e.Vault, e.Owner.Host, e.Owner.Writer, since, e.Owner.PID, e.Owner.Command)
	case e.Owner.PID == 0: // its record was just being written, or is damaged
		return fmt.Sprintf("vault %s is in use by another process", e.Vault)
	}
	state := ""
	if e.State != "" {
		state = "; that process is " + e.State
	}
	return fmt.Sprintf("vault %s is in use by pid %d (%s) since %s%s", e.Vault, e.Owner.PID, e.Owner.Command, since, state)
}
