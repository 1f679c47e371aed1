package qmp

import (
	"errors"
	"fmt"
)

// Errors that callers tell apart.
var (
	// ErrBusy is wrapped by Dial when the monitor took the connection but did not
	// greet: it serves another client, or QEMU hangs.
	ErrBusy = errors.New("the monitor does not greet: another client holds it (a monitor serves one at a time), or QEMU hangs")
	// ErrClosed is returned by commands on a client that was closed.
	ErrClosed = errors.New("monitor connection closed by us")
	// ErrGone is wrapped by the errors of commands on a connection that QEMU ended.
	ErrGone = errors.New("QEMU closed its monitor")
	// ErrTooLong is wrapped when a message is longer than MaxMessage.
	ErrTooLong = fmt.Errorf("message of more than %d MiB", MaxMessage>>20)
	// ErrProtocol is wrapped by errors about a peer that does not speak the protocol.
	ErrProtocol = errors.New("not the monitor protocol")
)

// Error is QEMU's answer that a command failed. The connection goes on.
type Error struct {
	Command string
	Class   string // GenericError, CommandNotFound, DeviceNotFound, DeviceNotActive, KVMMissingCap
	Desc    string // for people
}

func (e *Error) Error() string { return fmt.Sprintf("%s: QEMU says: %s", e.Command, e.Desc) }

// The classes of errors that QEMU tells apart.
const (
	GenericError    = "GenericError"
	CommandNotFound = "CommandNotFound"
	DeviceNotFound  = "DeviceNotFound"
	DeviceNotActive = "DeviceNotActive"
)

// IsClass tells whether err holds an Error of a class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}
