package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
)

// Exit codes: stable, documented in JSON.md and in the help.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitWarnings    = 3 // done, with warnings
	exitDamaged     = 4
	exitBusy        = 5 // vault, machine or target
	exitNotFound    = 6
	exitFull        = 7 // the vault
	exitRefused     = 8 // by a lock, a role or a seal
	exitInterrupted = 130
)

// usageError is a command line that cannot be obeyed.
type usageError struct {
	text, hint string
}

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) *usageError {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// hinted adds what to do about it.
func (e *usageError) hinted(format string, args ...any) *usageError {
	e.hint = fmt.Sprintf(format, args...)
	return e
}

// hintError is an error with what to do about it.
type hintError = service.HintError

// damagedError says that damage was found and, by then, printed.
type damagedError struct{ text string }

func (e *damagedError) Error() string { return e.text }

// interruptedError says that a person stopped the command, and what state it
// left behind.
type interruptedError struct{ state string }

func (e *interruptedError) Error() string { return "interrupted" }

// leaving makes of the error of a command that was interrupted one that says
// what state it left behind. Damage is not hidden by that.
func leaving(ctx context.Context, err error, state string) error {
	var known *interruptedError
	var corrupt *blockstore.CorruptError
	if err == nil || ctx.Err() == nil || errors.As(err, &known) || errors.As(err, &corrupt) {
		return err
	}
	return &interruptedError{state}
}

// explain turns an error into the exit code and what the person may do; the one
// place where that is decided.
func explain(err error) (code int, hint string) {
	if err == nil {
		return exitDone, ""
	}
	var hinted *hintError
	if errors.As(err, &hinted) {
		hint = hinted.Hint
	}
	code, general := classify(err)
	if hint == "" {
		hint = general
	}
	return code, hint
}

// classify decides by what the error is. What is asked first wins where errors
// are joined: an interruption says least about the data, damage most.
func classify(err error) (code int, hint string) {
	var (
		usage   *usageError
		damaged *damagedError
		corrupt *blockstore.CorruptError
		harmed  *blockstore.HarmedError
		busy    *blockstore.BusyError
		inUse   *image.InUseError
		target  *restore.InUseError
		stopped *interruptedError
		isCopy  *blockstore.CopyError
		isOther *blockstore.OtherVaultError
		hang    *blockstore.HangError
		another *backup.IdentityError
		job     *libvirt.BusyError
	)
	switch {
	case errors.As(err, &usage):
		return exitUsage, usage.hint
	case errors.As(err, &damaged):
		return exitDamaged, "restore from another point, or with --skip-damaged; a backup of the machine stores again what it still holds"
	case errors.As(err, &harmed):
		p := harmed.Points[0]
		return exitDamaged, fmt.Sprintf("a backup of the same content may heal it; `holdfast point give-up %s@%s` drops such a point, so that the rest can be swept", p.MachineName, p.ID)
	case errors.As(err, &corrupt):
		return exitDamaged, "`holdfast check --data` lists everything that is damaged; `holdfast restore --skip-damaged` saves the rest"
	case errors.As(err, &hang):
		return exitFailed, "look after the disk or server that it lies on (dmesg); the points that were there are whole, and what was stored is used by the next backup"
	case errors.As(err, &busy):
		return exitBusy, busyHint(busy)
	case errors.As(err, &isCopy):
		return exitRefused, "`holdfast vault takeover` makes the copy a vault of its own; reading works without"
	case errors.As(err, &isOther):
		return exitRefused, "if the vault was replaced on purpose, `holdfast vault takeover` makes the new one known to this host"
	case errors.Is(err, blockstore.ErrMachineHeld):
		return exitRefused, "it ends by itself; `holdfast hold MACHINE --release` ends it now"
	case errors.As(err, &another):
		return exitRefused, fmt.Sprintf("`holdfast protect %s ... --new-vm` lets the machine go on with this VM; `holdfast protect NEW-NAME ...` makes it a machine of its own", another.Machine)
	case errors.Is(err, blockstore.ErrHeld):
		return exitRefused, "somebody copies the vault; `holdfast vault hold-sweep --release` ends it"
	case errors.As(err, &inUse), errors.As(err, &target), errors.Is(err, quiesce.ErrBusy), errors.Is(err, quiesce.ErrGoing):
		return exitBusy, ""
	case errors.As(err, &job), errors.Is(err, qemu.ErrBusy), errors.Is(err, qemu.ErrForeignServer):
		return exitBusy, "nothing was changed in the VM"
	case errors.Is(err, blockstore.ErrLocked):
		return exitRefused, "a lock ends by itself, and in no other way; `holdfast trash list` and `holdfast point show` say when"
	case errors.Is(err, blockstore.ErrRunning), errors.Is(err, blockstore.ErrSweeping), errors.Is(err, syscall.EBUSY):
		return exitBusy, "try again when it has ended"
	case errors.As(err, &stopped):
		return exitInterrupted, stopped.state
	case errors.Is(err, context.Canceled):
		return exitInterrupted, ""
	case errors.Is(err, blockstore.ErrFull):
		return exitFull, "make room in the vault's file system; the recovery points in it are whole and can be restored"
	}
	return classifyFailure(err)
}

// busyHint says what to do about a vault that another process or host has.
func busyHint(e *blockstore.BusyError) string {
	switch {
	case e.Lost:
		return "nothing that was committed is lost; see to it that one host alone backs up into this vault"
	case e.OtherHost:
		return fmt.Sprintf("run the command on %s; if that host is gone, `holdfast vault takeover` makes this one the owner", e.Owner.Host)
	case e.State == "stopped":
		return fmt.Sprintf("`kill -CONT %d` lets it go on; after `kill -9 %d` the next command takes over at once", e.Owner.PID, e.Owner.PID)
	}
	return "try again when it has ended, or let the command wait with --wait"
}

func classifyFailure(err error) (code int, hint string) {
	switch {
	case errors.Is(err, backup.ErrGone):
		return exitNotFound, "its points stay and can be restored; `holdfast protect MACHINE ...` says where it is now, `holdfast unprotect MACHINE` gives it up"
	case errors.Is(err, backup.ErrNotProtected):
		return exitNotFound, "`holdfast discover` lists the VMs of this host and how to protect each"
	case errors.Is(err, libvirt.ErrNotFound):
		return exitNotFound, "`holdfast discover` lists what there is"
	case errors.Is(err, blockstore.ErrNoKey):
		return exitRefused, "give --passphrase-file FILE, or --identity FILE with the key of its recovery sheet, for example"
	case errors.Is(err, blockstore.ErrWrongKey):
		return exitRefused, "the key of the recovery sheet opens it, in a file of its own: --identity FILE"
	case errors.Is(err, blockstore.ErrNotSealed):
		return exitRefused, "name no key (flags, $HOLDFAST_PASSPHRASE_FILE, $HOLDFAST_IDENTITY) if it is"
	case errors.Is(err, blockstore.ErrForgotten):
		return exitFailed, ""
	case errors.Is(err, blockstore.ErrNotVault):
		return exitNotFound, "is the vault's disk mounted? A new vault is made with `holdfast vault create PATH`"
	case errors.Is(err, blockstore.ErrClock):
		return exitFailed, "set the clock of this host; if it is right, `holdfast vault trust-clock` says so once and for all. Nothing was changed"
	case errors.Is(err, blockstore.ErrNotDeleted):
		return exitNotFound, "it is a listed recovery point; `holdfast trash list` lists what is in the trash"
	case errors.Is(err, blockstore.ErrAmbiguous):
		return exitUsage, "write more of it, or the point's id"
	case errors.Is(err, blockstore.ErrNotFound):
		return exitNotFound, "`holdfast points` lists what there is"
	case errors.Is(err, blockstore.ErrVersion):
		return exitFailed, "use the version of holdfast that wrote it, or a newer one"
	case errors.Is(err, blockstore.ErrExists), errors.Is(err, fs.ErrExist):
		return exitFailed, "nothing was changed"
	case errors.Is(err, syscall.EROFS):
		return exitFailed, "the disk is read-only: reading works; to write there, mount it for writing"
	case errors.Is(err, fs.ErrPermission):
		return exitFailed, "run it as a user who may read and write there, for example with sudo"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, quiesce.ErrGone):
		return exitNotFound, ""
	}
	return exitFailed, ""
}

// report prints err as the last words of a command and returns the exit code.
func (k *console) report(err error) int {
	if err == nil {
		if k.warned() {
			return exitWarnings
		}
		return exitDone
	}
	code, hint := explain(err)
	k.say("error: %s", strings.TrimSpace(err.Error()))
	if hint != "" {
		k.say("hint: %s", hint)
	}
	return code
}
