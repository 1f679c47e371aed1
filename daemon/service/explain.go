package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/backup"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/restore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/image"
	"github.com/holdfast-backup/holdfast/quiesce/libvirt"
	"github.com/holdfast-backup/holdfast/quiesce/qemu"
	"github.com/holdfast-backup/holdfast/quiesce/qmp"
)

// Exit codes of commands, as DESIGN.md lists them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitDamaged     = 4
	exitBusy        = 5 // vault, machine or target
	exitNotFound    = 6
	exitFull        = 7 // the vault
	exitRefused     = 8 // by a lock, a role or a seal
	exitInterrupted = 130
)

// KindInUse is the kind of the problem that [ErrInUse] is.
const KindInUse = "vault-in-use"

// statusOf are the codes of HTTP that go with exit codes.
var statusOf = map[int]int{exitFailed: 500, exitUsage: 400, exitDamaged: 500, exitBusy: 409, exitNotFound: 404, exitFull: 507, exitRefused: 403, exitInterrupted: 503}

// Explain says of an error what it is, how a command ends with it, and what can be done; nil for nil. The
// one place where that is decided. A problem in err is returned as it is.
func Explain(err error) *api.Problem {
	if err == nil {
		return nil
	}
	var known *api.Problem
	if errors.As(err, &known) {
		return known
	}
	kind, exit, hint := classify(err)
	var hinted *HintError
	if errors.As(err, &hinted) {
		hint = hinted.Hint
	}
	title := strings.ReplaceAll(kind, "-", " ")
	p := &api.Problem{Status: statusOf[exit], Title: strings.ToUpper(title[:1]) + title[1:], Detail: strings.TrimSpace(err.Error()), Hint: hint, Exit: exit, Kind: kind}
	if corrupt := (*blockstore.CorruptError)(nil); errors.As(err, &corrupt) && corrupt.Disk != "" {
		p.Damage = &api.Harm{Machine: corrupt.Machine, Point: string(corrupt.Point), Disk: corrupt.Disk, Offset: corrupt.Offset, Length: corrupt.Length}
	}
	return p
}

// classify decides by what the error is. What is asked first wins where errors
// are joined: an interruption says least about the data, damage most.
func classify(err error) (kind string, exit int, hint string) {
	kind, exit, hint, inFiles := classifyFiles(err)
	var (
		damaged *Damaged
		corrupt *blockstore.CorruptError
		harmed  *blockstore.HarmedError
		busy    *blockstore.BusyError
		isCopy  *blockstore.CopyError
		isOther *blockstore.OtherVaultError
		hang    *blockstore.HangError
		another *backup.IdentityError
		refused *NotAllowed
	)
	switch {
	case errors.As(err, &damaged):
		return "damaged", exitDamaged, DamagedHint
	case errors.As(err, &harmed):
		p := harmed.Points[0]
		return "points-damaged", exitDamaged, fmt.Sprintf("a backup of the same content may heal it; `holdfast point give-up %s@%s` drops such a point, so that the rest can be swept", p.MachineName, p.ID)
	case errors.As(err, &corrupt):
		return "data-damaged", exitDamaged, "`holdfast check --data` lists everything that is damaged; `holdfast restore --skip-damaged` saves the rest"
	case inFiles:
		return kind, exit, hint
	case errors.As(err, &hang):
		return "vault-hangs", exitFailed, "look after the disk or server that it lies on (dmesg); the points that were there are whole, and what was stored is used by the next backup"
	case errors.As(err, &busy):
		return "vault-busy", exitBusy, busyHint(busy)
	case errors.As(err, &isCopy):
		return "vault-is-copy", exitRefused, "`holdfast vault takeover` makes the copy a vault of its own; reading works without"
	case errors.As(err, &isOther):
		return "another-vault", exitRefused, "if the vault was replaced on purpose, `holdfast vault takeover` makes the new one known to this host"
	case errors.As(err, &refused):
		return "not-allowed", exitRefused, refused.Hint
	case errors.Is(err, blockstore.ErrMachineHeld):
		return api.KindMachineHeld, exitRefused, "it ends by itself; `holdfast hold MACHINE --release` ends it now, `holdfast hold --all --release` one of all machines"
	case errors.As(err, &another):
		return "another-vm", exitRefused, fmt.Sprintf("`holdfast protect %s ... --new-vm` lets the machine go on with this VM; `holdfast protect NEW-NAME ...` makes it a machine of its own", another.Machine)
	case errors.Is(err, blockstore.ErrHeld):
		return "vault-held", exitRefused, "somebody copies the vault; `holdfast vault hold-sweep --release` ends it"
	}
	return classifyUse(err)
}

// classifyUse knows what is in use, stopped or full.
func classifyUse(err error) (kind string, exit int, hint string) {
	var (
		inUse   *image.InUseError
		target  *restore.InUseError
		job     *libvirt.BusyError
		stopped *Interrupted
	)
	switch {
	case errors.As(err, &inUse):
		return "image-in-use", exitBusy, ""
	case errors.As(err, &target):
		return "target-in-use", exitBusy, ""
	case errors.Is(err, quiesce.ErrBusy):
		return "agent-busy", exitBusy, ""
	case errors.Is(err, quiesce.ErrGoing):
		return "guest-frozen", exitBusy, ""
	case errors.As(err, &job), errors.Is(err, qemu.ErrBusy), errors.Is(err, qemu.ErrForeignServer), errors.Is(err, qemu.ErrInUse), errors.Is(err, qmp.ErrBusy):
		return "vm-busy", exitBusy, "nothing was changed in the VM"
	case errors.Is(err, blockstore.ErrLocked):
		return "point-locked", exitRefused, "a lock ends by itself, and in no other way; `holdfast trash list` and `holdfast point show` say when"
	case errors.Is(err, ErrInUse):
		return KindInUse, exitBusy, "try again when that has ended"
	case errors.Is(err, blockstore.ErrRunning), errors.Is(err, blockstore.ErrSweeping), errors.Is(err, syscall.EBUSY):
		return "busy", exitBusy, "try again when it has ended"
	case errors.Is(err, jobs.ErrTooLong):
		return "too-long", exitFailed, stateOfStopped(err)
	case errors.As(err, &stopped):
		return "interrupted", exitInterrupted, stopped.State
	case errors.Is(err, context.Canceled), errors.Is(err, jobs.ErrInterrupted), errors.Is(err, errCancelled):
		return "interrupted", exitInterrupted, ""
	case errors.Is(err, blockstore.ErrFull):
		return "vault-full", exitFull, "make room in the vault's file system; the recovery points in it are whole and can be restored"
	}
	return classifyGuest(err)
}

// classifyGuest knows what a guest, or what runs it, cannot do.
func classifyGuest(err error) (kind string, exit int, hint string) {
	var short *quiesce.NotReachedError
	switch {
	case errors.As(err, &short):
		return "not-consistent", exitFailed, "see to the guest agent (`holdfast doctor MACHINE` says whether it answers), or let backups fall back: --otherwise fall-back"
	case errors.Is(err, qemu.ErrTooOld), errors.Is(err, libvirt.ErrTooOld):
		return "qemu-too-old", exitFailed, "back it up while it is off, or bring QEMU to 5.2 and libvirt to 6.10 or newer"
	case errors.Is(err, qemu.ErrScratch):
		return "scratch-full", exitFailed, "the guest was not harmed; give it a scratch folder with more room (--scratch), or more of it (--scratch-cap)"
	case errors.Is(err, qemu.ErrDenied):
		return "scratch-denied", exitFailed, "AppArmor or SELinux keeps QEMU from the scratch folder: the README says which lines give leave"
	}
	return classifyFailure(err)
}

func stateOfStopped(err error) string {
	var stopped *Interrupted
	errors.As(err, &stopped)
	if stopped == nil {
		return ""
	}
	return stopped.State
}

// DamagedHint is what to do about damage.
const DamagedHint = "restore from another point, or with --skip-damaged; a backup of the machine stores again what it still holds"

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

func classifyFailure(err error) (kind string, exit int, hint string) {
	var bad *Invalid
	switch {
	case errors.Is(err, backup.ErrGone):
		return "vm-gone", exitNotFound, "its points stay and can be restored; `holdfast protect MACHINE ...` says where it is now, `holdfast unprotect MACHINE` gives it up"
	case errors.Is(err, backup.ErrNotProtected):
		return "not-protected", exitNotFound, "`holdfast discover` lists the VMs of this host and how to protect each"
	case errors.Is(err, libvirt.ErrNotFound):
		return "domain-not-found", exitNotFound, "`holdfast discover` lists what there is"
	case errors.Is(err, blockstore.ErrNoKey):
		return "no-key", exitRefused, "give --passphrase-file FILE, or --identity FILE with the key of its recovery sheet, for example"
	case errors.Is(err, blockstore.ErrWrongKey):
		return "wrong-key", exitRefused, "the key of the recovery sheet opens it, in a file of its own: --identity FILE"
	case errors.Is(err, blockstore.ErrNotSealed):
		return "not-sealed", exitRefused, "name no key (flags, $HOLDFAST_PASSPHRASE_FILE, $HOLDFAST_IDENTITY) if it is"
	case errors.Is(err, blockstore.ErrForgotten):
		return "forgotten", exitFailed, ""
	case errors.Is(err, blockstore.ErrNotVault):
		return "not-a-vault", exitNotFound, "is the vault's disk mounted? A new vault is made with `holdfast vault create PATH`"
	case errors.Is(err, blockstore.ErrClock):
		return "clock", exitFailed, "set the clock of this host; if it is right, `holdfast vault trust-clock` says so once and for all. Nothing was changed"
	case errors.Is(err, blockstore.ErrNotDeleted):
		return "not-deleted", exitNotFound, "it is a listed recovery point; `holdfast trash list` lists what is in the trash"
	case errors.Is(err, blockstore.ErrAmbiguous):
		return "ambiguous", exitUsage, "write more of it, or the point's id"
	case errors.Is(err, blockstore.ErrNotFound):
		return "not-found", exitNotFound, "`holdfast points` lists what there is"
	case errors.Is(err, jobs.ErrNotFound):
		return "not-found", exitNotFound, "`holdfast jobs` lists what there is"
	case errors.Is(err, jobs.ErrClosed):
		return "shutting-down", exitBusy, "try again when the daemon has started again"
	case errors.As(err, &bad):
		return "invalid", exitUsage, ""
	case errors.Is(err, blockstore.ErrVersion):
		return "version", exitFailed, "use the version of holdfast that wrote it, or a newer one"
	case errors.Is(err, blockstore.ErrExists), errors.Is(err, fs.ErrExist):
		return "exists", exitFailed, "nothing was changed"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "no-space", exitFailed, "the disk that was written to is full, or a quota is: make room there, or write elsewhere"
	case errors.Is(err, syscall.EROFS):
		return "read-only", exitFailed, "the disk is read-only: reading works; to write there, mount it for writing"
	case errors.Is(err, fs.ErrPermission):
		return "no-permission", exitFailed, "run it as a user who may read and write there, for example with sudo"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, quiesce.ErrGone):
		return "not-found", exitNotFound, ""
	}
	return "failed", exitFailed, ""
}
