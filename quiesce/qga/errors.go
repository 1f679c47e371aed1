package qga

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrAbsent says that nobody answers in the guest: the agent is not
	// installed, not running, or hangs.
	ErrAbsent = errors.New("the guest agent does not answer")
	// ErrBusy says that another client holds the agent's socket.
	ErrBusy = errors.New("another client holds the guest agent's socket")
	// ErrGone says that there is no such socket, or nobody behind it: the
	// machine does not run.
	ErrGone = errors.New("nobody listens on the guest agent's socket")
)

// Error is the agent's answer that a command failed.
type Error struct {
	Command string // that was asked for
	Class   string // GenericError or CommandNotFound, for example
	Desc    string // the agent's words, cut to a few hundred bytes
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: the guest agent says: %s", e.Command, e.Desc)
}

// Disabled tells whether the agent does not have the command or is configured
// not to obey it.
func (e *Error) Disabled() bool {
	return e.Class == "CommandNotFound" || strings.Contains(e.Desc, "has been disabled") || strings.Contains(e.Desc, "not allowed")
}

const maxDesc = 400 // bytes of the agent's words that are kept

// words makes text of the guest fit for a message or a record.
func words(s string) string {
	if len(s) > maxDesc {
		s = s[:maxDesc] + "..."
	}
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
}
