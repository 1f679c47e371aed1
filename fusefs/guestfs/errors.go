package guestfs

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// NotInPointError says that what was asked for belongs to the guest and is not in
// the recovery point: it lay on a disk that was left out, on a volume that none of
// the disks holds, or on another machine.
type NotInPointError struct {
	What string // the path, or the device by the guest's name for it
	Why  string // "vdb was left out: it is on NFS"

	// Remote: it lies on another machine, so that no point of this one ever holds it.
	Remote bool
}

func (e *NotInPointError) Error() string {
	return fmt.Sprintf("%s is not in this point: %s", e.What, e.Why)
}

// UnreadableError says that a volume's content is there and is not read here. The
// disk itself can be.
type UnreadableError struct {
	Volume string
	Type   string // as blkid(8) calls it, "" where that is not known
	Why    string
	Advice string // what to do instead

	// Locked: it, or what it lies in, is encrypted, and a passphrase or key file that
	// was not given may open it.
	Locked bool
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("volume %s cannot be read: %s", e.Volume, e.Why)
}

// AbsentError says that a folder does not hold a name. It is an fs.ErrNotExist.
type AbsentError struct {
	Name   string
	Folder string // its path
}

func (e *AbsentError) Error() string {
	return fmt.Sprintf("there is no %q in %s: %v", e.Name, e.Folder, fs.ErrNotExist)
}

func (e *AbsentError) Unwrap() error { return fs.ErrNotExist }

// IsUnreachable tells whether err says that something cannot be reached, other than
// by not being there: what is behind it is unknown, not missing.
func IsUnreachable(err error) bool {
	return errors.As(err, new(*NotInPointError)) || errors.As(err, new(*UnreadableError))
}

// IsRemote tells whether err says that something lies on another machine.
func IsRemote(err error) bool {
	var gone *NotInPointError
	return errors.As(err, &gone) && gone.Remote
}

// leftOut is what to say where something is missing while disks were left out.
func leftOut(missing []Missing) string {
	var parts []string
	for _, m := range missing {
		part := m.Name + " was left out"
		if m.Reason != "" {
			part += " (" + m.Reason + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
