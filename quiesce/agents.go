package quiesce

import (
	"context"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// What keeps an agent from being used; more is said at those of package qga.
var (
	ErrAbsent = qga.ErrAbsent // nobody answers in the guest
	ErrBusy   = qga.ErrBusy   // another client holds the agent's socket
	ErrGone   = qga.ErrGone   // the machine does not run
)

// DialAgent connects to the agent behind a Unix socket: an [ErrAbsent],
// [ErrBusy] or [ErrGone] within a second where that does not answer. The agent is a
// [Guest], and to be closed.
func DialAgent(ctx context.Context, socket string) (*qga.Agent, error) {
	return qga.Dial(ctx, socket)
}
