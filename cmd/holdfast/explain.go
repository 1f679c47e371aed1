package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
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

// ownEndError is an error of what ends by a signal as a rule, which is no reason for it.
type ownEndError struct{ error }

func (e *ownEndError) Unwrap() error { return e.error }

func ownEnd(err error) error {
	if err == nil {
		return nil
	}
	return &ownEndError{err}
}

// leaving makes of the error of a command that was interrupted one that says
// what state it left behind. Damage is not hidden by that.
func leaving(ctx context.Context, err error, state string) error {
	var known *interruptedError
	var told *service.Interrupted
	var problem *api.Problem // of a job, which says what it left
	var corrupt *blockstore.CorruptError
	var own *ownEndError
	if err == nil || ctx.Err() == nil || errors.As(err, &known) || errors.As(err, &own) || errors.As(err, &told) || errors.As(err, &problem) || errors.As(err, &corrupt) {
		return err
	}
	return &interruptedError{state}
}

// explain turns an error into the exit code and what the person may do: what is about the command
// line itself is decided here, all else by service.Explain.
func explain(err error) (code int, hint string) {
	if err == nil {
		return exitDone, ""
	}
	var (
		usage   *usageError
		damaged *damagedError
		stopped *interruptedError
		hinted  *hintError
	)
	p := service.Explain(err)
	code, hint = p.Exit, p.Hint
	switch {
	case errors.As(err, &usage):
		code, hint = exitUsage, usage.hint
	case errors.As(err, &damaged):
		code, hint = exitDamaged, service.DamagedHint
	case code != exitDamaged && errors.As(err, &stopped):
		code, hint = exitInterrupted, stopped.state
	}
	if errors.As(err, &hinted) {
		hint = hinted.Hint
	}
	return code, hint
}

// report prints err as the last words of a command and returns the exit code.
func (k *console) report(err error) int {
	if err == nil {
		err = k.failed()
	}
	if err == nil {
		if k.warned() {
			return exitWarnings
		}
		return exitDone
	}
	if ended := (*endedError)(nil); errors.As(err, &ended) {
		return ended.code
	}
	code, hint := explain(err)
	k.say("error: %s", strings.TrimSpace(err.Error()))
	if hint != "" {
		k.say("hint: %s", hint)
	}
	return code
}
