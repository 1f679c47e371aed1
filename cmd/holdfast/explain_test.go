package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/image"
)

func TestEveryErrorHasItsExitCodeAndHint(t *testing.T) {
	t.Parallel()
	corrupt := &blockstore.CorruptError{Machine: "web1", Point: "p1", Disk: "vda", Err: errors.New("hash differs")}
	tests := []struct {
		err  error
		code int
		hint string
	}{
		{nil, exitDone, ""},
		{errors.New("x"), exitFailed, ""},
		{usagef("x"), exitUsage, ""},
		{usagef("x").hinted("do %s", "y"), exitUsage, "do y"},
		{corrupt, exitDamaged, "check --data"},
		{&damagedError{"x"}, exitDamaged, "another point"},
		{errors.Join(fs.ErrNotExist, corrupt), exitDamaged, ""},
		{&blockstore.BusyError{Vault: "/v"}, exitBusy, "--wait"},
		{&blockstore.BusyError{Vault: "/v", OtherHost: true, Owner: blockstore.Ownership{Host: "hv2"}}, exitBusy, "hv2"},
		{&blockstore.BusyError{Vault: "/v", Lost: true}, exitBusy, "one host alone"},
		{&blockstore.BusyError{Vault: "/v", State: "stopped", Owner: blockstore.Ownership{PID: 71}}, exitBusy, "kill -CONT 71"},
		{&blockstore.CopyError{Vault: "/v", Original: "/w"}, exitRefused, "vault takeover"},
		{&blockstore.OtherVaultError{Vault: "/v"}, exitRefused, "vault takeover"},
		{blockstore.ErrHeld, exitRefused, "--release"},
		{&blockstore.HangError{Path: "/v"}, exitFailed, "dmesg"},
		{syscall.EROFS, exitFailed, "read-only"},
		{blockstore.ErrNotFound, exitNotFound, "holdfast points"},
		{blockstore.ErrAmbiguous, exitUsage, "more of it"},
		{blockstore.ErrNotVault, exitNotFound, "mounted?"},
		{errors.Join(fs.ErrNotExist, blockstore.ErrNotVault), exitNotFound, "mounted?"},
		{fs.ErrNotExist, exitNotFound, ""},
		{blockstore.ErrFull, exitFull, "make room"},
		{syscall.ENOSPC, exitFailed, ""}, // some other file system
		{blockstore.ErrVersion, exitFailed, "newer"},
		{fs.ErrPermission, exitFailed, "sudo"},
		{fs.ErrExist, exitFailed, "nothing was changed"},
		{&image.InUseError{Path: "/vms/a"}, exitBusy, ""},
		{blockstore.ErrRunning, exitBusy, "again"},
		{syscall.EBUSY, exitBusy, "again"},
		{context.Canceled, exitInterrupted, ""},
		{&interruptedError{"nothing was stored"}, exitInterrupted, "nothing was stored"},
	}
	for _, test := range tests {
		for _, err := range []error{test.err, wrapped(test.err)} {
			code, hint := explain(err)
			if code != test.code || !strings.Contains(hint, test.hint) {
				t.Errorf("%v: code %d, hint %q; want %d, %q", err, code, hint, test.code, test.hint)
			}
		}
	}
}

func wrapped(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("back up web1: %w", err)
}

func TestAnErrorIsPrintedOnceAndObeysNoControlCharacters(t *testing.T) {
	t.Parallel()
	var out, err bytes.Buffer
	k := &console{out: &out, err: &err}
	code := k.report(fmt.Errorf("open vault \x1b[31m/srv: %w", blockstore.ErrNotVault))
	if code != exitNotFound || out.Len() > 0 || strings.Count(err.String(), "not a vault") != 1 || strings.Contains(err.String(), "\x1b") {
		t.Errorf("code %d, stdout %q, stderr %q", code, out.String(), err.String())
	}
}

func TestWarningsArePartOfTheOutcome(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	k := &console{err: &err}
	k.warn("someone should look")
	if code := k.report(nil); code != exitWarnings || err.String() != "warning: someone should look\n" {
		t.Errorf("code %d, stderr %q", code, err.String())
	}
	if code := k.report(errors.New("x")); code != exitFailed {
		t.Errorf("a failure after a warning ends with %d", code)
	}
}

func TestWhatWasInterruptedSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.New("x"); leaving(ctx, err, "state") != err {
		t.Error("an error of its own was changed")
	}
	cancel()
	code, hint := explain(leaving(ctx, fmt.Errorf("read: %w", syscall.EINTR), "nothing was stored"))
	if code != exitInterrupted || hint != "nothing was stored" {
		t.Errorf("code %d, hint %q", code, hint)
	}
	corrupt := fmt.Errorf("restore: %w", &blockstore.CorruptError{Err: syscall.EIO})
	if leaving(ctx, corrupt, "state") != corrupt {
		t.Error("damage was hidden by the interruption")
	}
	if leaving(ctx, nil, "state") != nil {
		t.Error("what was done before it was interrupted is done")
	}
}

func TestARowOfATableStaysOneRow(t *testing.T) {
	var out bytes.Buffer
	k := &console{out: &out}
	if err := k.table([][]string{{"WHO", "WHY"}, {"bert", "open /x\n2026-11-23T13:00:00Z  root  grant\tdone: no such file"}}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[1], "bert") {
		t.Errorf("a name made lines up:\n%s", out.String())
	}
}
