package backup

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// transient tells a failure that may have passed in a few seconds: a monitor that
// somebody else holds, a connection that broke. A VM that has ended is found to be off by
// the next attempt. What was refused, and what the vault says, stays so; a guest that may be
// frozen is not touched again.
func transient(err error) bool {
	var told interface{ Transient() bool }
	var frozen *quiesce.StillFrozenError
	var hang *blockstore.HangError
	switch {
	case errors.As(err, &frozen), errors.As(err, &hang), errors.Is(err, blockstore.ErrFull), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &told):
		return told.Transient()
	}
	for _, e := range []error{qmp.ErrBusy, qmp.ErrGone, qemu.ErrGone, libvirt.ErrGone, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ESHUTDOWN, syscall.ECONNREFUSED} {
		if errors.Is(err, e) {
			return true
		}
	}
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
