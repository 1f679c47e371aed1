package quiesce

import (
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// What keeps an agent from being used; more is said at those of package qga.
var (
	ErrAbsent = qga.ErrAbsent // nobody answers in the guest
	ErrBusy   = qga.ErrBusy   // another client holds the agent's socket
	ErrGone   = qga.ErrGone   // the machine does not run
)
