package qga

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"
)

// ExecRequest is a program to run in the guest.
type ExecRequest struct {
	Path  string   // of the program, or a name that the guest's PATH resolves
	Args  []string // without the program's name
	Env   []string // NAME=value; replaces the agent's own, nil keeps that
	Input []byte   // for its standard input
}

// ExecResult is how a program in the guest ended.
type ExecResult struct {
	ExitCode       int
	Signal         int // that ended it, or a Windows exception; 0: none
	Stdout, Stderr []byte
	Cut            bool // there was more output
}

// OK tells whether the program ended well.
func (r ExecResult) OK() bool { return r.ExitCode == 0 && r.Signal == 0 }

const (
	firstPoll = 5 * time.Millisecond // then twice that, and so on
	lastPoll  = 250 * time.Millisecond
)

// Exec runs a program in the guest and waits for its end, at most until ctx
// ends. The agent has no way to stop one: after a time-out it goes on running.
// About 70 KiB of each stream are kept.
func (c Commands) Exec(ctx context.Context, r ExecRequest) (ExecResult, error) {
	args := map[string]any{"path": r.Path, "capture-output": true}
	if len(r.Args) > 0 {
		args["arg"] = r.Args
	}
	if r.Env != nil {
		args["env"] = r.Env
	}
	if r.Input != nil {
		args["input-data"] = r.Input // base64
	}
	var started struct {
		PID int64 `json:"pid"`
	}
	if err := c.Do(ctx, "guest-exec", args, &started); err != nil {
		return ExecResult{}, err
	}
	for wait := firstPoll; ; wait = min(2*wait, lastPoll) {
		select {
		case <-ctx.Done():
			return ExecResult{}, fmt.Errorf("%s in the guest (process %d there) has not ended: %w", r.Path, started.PID, context.Cause(ctx))
		case <-time.After(wait):
		}
		result, exited, err := c.execStatus(ctx, started.PID)
		if err != nil && ctx.Err() != nil {
			continue
		}
		if err != nil || exited {
			return result, err
		}
	}
}

func (c Commands) execStatus(ctx context.Context, pid int64) (_ ExecResult, exited bool, _ error) {
	var reply struct {
		Exited       bool   `json:"exited"`
		ExitCode     int    `json:"exitcode"`
		Signal       int    `json:"signal"`
		Out          string `json:"out-data"`
		Err          string `json:"err-data"`
		OutTruncated bool   `json:"out-truncated"`
		ErrTruncated bool   `json:"err-truncated"`
	}
	if err := c.Do(ctx, "guest-exec-status", map[string]int64{"pid": pid}, &reply); err != nil {
		return ExecResult{}, false, err
	}
	r := ExecResult{ExitCode: reply.ExitCode, Signal: reply.Signal, Stdout: decoded(reply.Out), Stderr: decoded(reply.Err)}
	r.Cut = reply.OutTruncated || reply.ErrTruncated || len(reply.Out) >= maxString || len(reply.Err) >= maxString
	return r, reply.Exited, nil
}

// decoded is as much of s as is base64, up to where a long reply was cut.
func decoded(s string) []byte {
	s = s[:min(len(s), maxString)]
	b, _ := base64.StdEncoding.DecodeString(s)
	return b
}
