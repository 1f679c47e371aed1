package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// Place is where a hook runs.
type Place string

// The places.
const (
	OnHost  Place = "host"
	InGuest Place = "guest"
)

// Hook is a pair of commands around the snapshot. Each is one string that the
// user wrote: on the host and in a Linux guest `/bin/sh -c` gets it, in a Windows
// guest `cmd.exe /c`. It finds HOLDFAST_MACHINE and HOLDFAST_PHASE (pre, post) in its environment (in
// a Windows guest it does not), and nothing to read.
//
// Pre commands run before the freeze, those on the host first, else in their
// order; post commands run after the thaw, in the opposite order. The post
// command of a hook runs whatever happened (except that a backup that is killed runs
// nothing), once its turn to run its pre command had come, also when that failed. A pre command that fails ends the backup,
// unless the hook says otherwise, or it was to run in a guest whose agent does not answer and
// a lesser consistency will do.
type Hook struct {
	Place             Place         `json:"place"`
	Pre               string        `json:"pre,omitempty"`
	Post              string        `json:"post,omitempty"`
	Timeout           time.Duration `json:"timeout,omitempty"` // of each command, in nanoseconds; 0: DefaultHookTimeout
	ContinueOnFailure bool          `json:"continue_on_failure,omitempty"`
}

// DefaultHookTimeout is what a hook's command gets that has no time-out of its own.
const DefaultHookTimeout = 30 * time.Second

// HookResult is how one command of a hook ended.
type HookResult struct {
	Place   Place
	Phase   string // "pre" or "post"
	Command string
	OK      bool
	Error   string // why it is not OK
	Output  string // the end of what it printed, both streams, a few KiB at most
	Took    time.Duration
}

// HookError is a pre command that failed, so that there was no snapshot.
type HookError struct{ Result HookResult }

func (e *HookError) Error() string {
	return fmt.Sprintf("hook on the %s before the snapshot, %q: %s", e.Result.Place, e.Result.Command, e.Result.Error)
}

// hooks runs the hooks of one Quiesce.
type hooks struct {
	guest   Guest // nil: those in the guest cannot run
	why     error // that it is nil
	lenient bool  // then those in the guest need not
	windows bool
	machine string
	results []HookResult
}

// letGo leaves the guest to its guard: the agent serves one client.
func (h *hooks) letGo(why error) {
	if c, ok := h.guest.(io.Closer); ok {
		c.Close()
	}
	h.guest, h.why = nil, why
}

// around runs the pre commands of list, do, and the post commands. Failures of
// post commands are only in the results: the snapshot has been taken.
func (h *hooks) around(ctx context.Context, list []Hook, do func(context.Context) error) error {
	if len(list) == 0 {
		return do(ctx)
	}
	hook := list[0]
	unable := hook.Place == InGuest && h.guest == nil
	if !unable {
		defer h.run(context.WithoutCancel(ctx), hook, "post", hook.Post)
	}
	if pre := h.run(ctx, hook, "pre", hook.Pre); !pre.OK && !hook.ContinueOnFailure && !(unable && h.lenient) {
		return &HookError{pre}
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return h.around(ctx, list[1:], do)
}

// run runs one command, if there is one.
func (h *hooks) run(ctx context.Context, hook Hook, phase, command string) HookResult {
	r := HookResult{Place: hook.Place, Phase: phase, Command: command, OK: true}
	if command == "" {
		return r
	}
	timeout := hook.Timeout
	if timeout <= 0 {
		timeout = DefaultHookTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it did not end within %s", timeout))
	defer cancel()
	begin := time.Now()
	var err error
	if hook.Place == InGuest {
		r.Output, err = h.inGuest(ctx, phase, command)
	} else {
		r.Output, err = onHost(ctx, h.environment(phase), command)
	}
	r.Took = time.Since(begin)
	if err != nil {
		r.OK, r.Error = false, err.Error()
	}
	h.results = append(h.results, r)
	return r
}

func (h *hooks) environment(phase string) []string {
	return []string{"HOLDFAST_MACHINE=" + h.machine, "HOLDFAST_PHASE=" + phase}
}

// guestPath replaces the PATH that the agent hides from a process that is given an environment.
const guestPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (h *hooks) inGuest(ctx context.Context, phase, command string) (string, error) {
	if h.guest == nil {
		return "", fmt.Errorf("it was not run: %w", h.why)
	}
	request := qga.ExecRequest{Path: "/bin/sh", Args: []string{"-c", command}, Env: append(h.environment(phase), guestPath)}
	if h.windows {
		request = qga.ExecRequest{Path: "cmd.exe", Args: []string{"/c", command}}
	}
	result, err := h.guest.Exec(ctx, request)
	var refused *qga.Error
	switch {
	case errors.As(err, &refused) && refused.Disabled():
		return "", fmt.Errorf("%w (the guest's agent must allow guest-exec: see BLOCK_RPCS or ALLOW_RPCS in its configuration)", err)
	case err != nil:
		return "", err
	}
	var said tail
	said.Write(result.Stdout)
	said.Write(result.Stderr)
	if result.OK() {
		return said.String(), nil
	}
	if result.Signal != 0 {
		return said.String(), fmt.Errorf("it ended by signal %d", result.Signal)
	}
	return said.String(), fmt.Errorf("it ended with code %d", result.ExitCode)
}

// inOrder puts hooks on the host before those in the guest.
func inOrder(list []Hook) []Hook {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b Hook) int {
		if a.Place == b.Place {
			return 0
		}
		if a.Place == InGuest {
			return 1
		}
		return -1
	})
	return list
}

// application tells whether commands ran in the guest before the snapshot and
// all that ran there ended well.
func (h *hooks) application() bool {
	ran := false
	for _, r := range h.results {
		if r.Place != InGuest {
			continue
		}
		if !r.OK {
			return false
		}
		ran = ran || r.Phase == "pre"
	}
	return ran
}

// warnings are the failures that did not end the backup.
func (h *hooks) warnings() []string {
	var list []string
	for _, r := range h.results {
		if !r.OK {
			list = append(list, fmt.Sprintf("hook on the %s (%s), %q: %s", r.Place, r.Phase, r.Command, r.Error))
		}
	}
	return list
}
