package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// Guest is the agent in a guest: [*qga.Agent], or one that libvirt passes on to.
// Every method ends when its context does. One at a time is called.
type Guest interface {
	Ping(ctx context.Context) error
	Info(ctx context.Context) (qga.Info, error)     // an agent that cannot be asked: the zero Info
	OSInfo(ctx context.Context) (qga.OSInfo, error) // only for hooks in the guest and to know Windows
	// Freeze returns how many file systems it froze; no mounts: all.
	Freeze(ctx context.Context, mounts []string) (int, error)
	// Thaw returns how many were frozen; none is no error.
	Thaw(ctx context.Context) (int, error)
	// Frozen may say errors.ErrUnsupported; then a Thaw that found nothing frozen
	// stands for it.
	Frozen(ctx context.Context) (bool, error)
	Exec(ctx context.Context, r qga.ExecRequest) (qga.ExecResult, error)
}

// Options says what is asked for.
type Options struct {
	Machine  string                 // its name, for people
	Asked    blockstore.Consistency // "": crash, nothing is frozen
	FallBack bool                   // take the snapshot also when Asked is not reached
	Hooks    []Hook
	Mounts   []string // mount points to freeze; none: all

	// NoGuest is why there is no Guest; it becomes the reason.
	NoGuest error
	// Reach, Journal and Guard see to it that the guest is thawed without this process. Without a
	// Reach and a Journal nothing is frozen; the zero Guard is none.
	Reach   Reach
	Journal *Journal
	Guard   Guard

	FreezeTimeout time.Duration // of the freeze; 0: DefaultFreezeTimeout
	HoldTimeout   time.Duration // of during while frozen; 0: DefaultHoldTimeout
	ThawTimeout   time.Duration // until thawing is left to the guard; 0: DefaultThawTimeout
}

// Defaults of Options.
const (
	DefaultFreezeTimeout = 10 * time.Second
	DefaultHoldTimeout   = 10 * time.Second
	DefaultThawTimeout   = 60 * time.Second
)

// Report is what came of it.
type Report struct {
	Asked blockstore.Consistency
	// Reached is filesystem where the agent froze, all that it froze was frozen
	// still when it was thawed, and no request failed; application where, beyond that, the guest is Windows, whose agent
	// freezes through VSS, or commands ran in the guest before the snapshot and every
	// command there ended well. Else it is crash.
	Reached blockstore.Consistency
	Reason  string // why Reached is not better than it is; "" where nothing better was asked for
	Agent   string // version of the agent; "": not known
	Windows bool   // runs in the guest

	Window time.Duration // from the request to freeze to the answer that it is thawed; 0: nothing was frozen
	Freeze time.Duration // of Window, until the freeze was answered
	During time.Duration // of Window, while during ran
	Frozen int           // file systems

	Hooks    []HookResult // of the commands that ran or should have, in their order
	Warnings []string     // what people should look after
}

// NotReachedError says that the consistency that was asked for was not reached
// and is not to be done without.
type NotReachedError struct {
	Asked, Reached blockstore.Consistency
	Reason         string
}

func (e *NotReachedError) Error() string {
	return fmt.Sprintf("consistency %s was asked for, and only %s could be reached: %s", e.Asked, e.Reached, e.Reason)
}

// StillFrozenError says that the guest may be frozen: thaw was tried for as long as
// Options say. The guard goes on, and the journal has it.
type StillFrozenError struct {
	Machine string
	Reach   Reach
	Err     error
}

func (e *StillFrozenError) Error() string {
	return fmt.Sprintf("the guest of %s may still be frozen: %v", e.Machine, e.Err)
}

// Unwrap returns why thawing failed.
func (e *StillFrozenError) Unwrap() error { return e.Err }

// Quiesce calls during, which takes the snapshot, at a moment of the
// consistency that was asked for. The guest is thawed when it returns, or the
// error is a [*StillFrozenError]; a g that is an [io.Closer] is closed then, so
// that the guard can reach the agent. A nil g means that the guest has no agent.
//
// Where the consistency is not reached and there is no falling back, the error is a
// [*NotReachedError]; during may have been called by then, since VSS tells
// only at the thaw, and its snapshot is to be given up as after any error. A pre
// command that fails, and may not, is a [*HookError]. The Report is good after errors as well.
func Quiesce(ctx context.Context, g Guest, o Options, during func(context.Context) error) (Report, error) {
	s := &session{guest: g, o: o.settled(), during: during}
	s.report = Report{Asked: s.o.Asked, Reached: blockstore.Crash}
	s.meet(ctx)
	h := &hooks{guest: s.guest, why: s.absent, lenient: o.FallBack, windows: s.report.Windows, machine: o.Machine}
	err := s.mustReach()
	if err == nil {
		err = h.around(ctx, inOrder(o.Hooks), s.hold)
	}
	s.report.Hooks = h.results
	s.report.Warnings = append(s.report.Warnings, h.warnings()...)
	s.judge(h)
	if err == nil {
		err = s.mustReach()
	}
	return s.report, err
}

func (o Options) settled() Options {
	if o.Asked == "" {
		o.Asked = blockstore.Crash
	}
	for _, limit := range []struct {
		d        *time.Duration
		standard time.Duration
	}{{&o.FreezeTimeout, DefaultFreezeTimeout}, {&o.HoldTimeout, DefaultHoldTimeout}, {&o.ThawTimeout, DefaultThawTimeout}} {
		if *limit.d <= 0 {
			*limit.d = limit.standard
		}
	}
	return o
}

// session is one Quiesce.
type session struct {
	guest  Guest // nil: nobody answers
	absent error // why
	o      Options
	during func(context.Context) error
	report Report
	failed string // why the guest was not frozen, or not for long enough; "": nothing is known against it
	frozen bool   // for the whole of during
}

// meet finds out who answers in the guest, where that matters.
func (s *session) meet(ctx context.Context) {
	if s.o.Asked == blockstore.Crash && !hasGuestHooks(s.o.Hooks) {
		return
	}
	err := s.o.NoGuest
	if s.guest == nil && err == nil {
		err = errors.New("the machine has no guest agent")
	}
	if s.guest != nil {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		err = s.ask(ctx)
	}
	if err != nil {
		s.guest, s.absent, s.failed = nil, err, reason(err)
	}
}

// ask pings the agent and learns its version, commands and system. Only the ping must succeed.
func (s *session) ask(ctx context.Context) error {
	if err := s.guest.Ping(ctx); err != nil {
		return err
	}
	if system, err := s.guest.OSInfo(ctx); err == nil {
		s.report.Windows = system.Windows()
	}
	info, err := s.guest.Info(ctx)
	if err != nil {
		return nil
	}
	s.report.Agent = info.Version
	if command := s.freezeCommand(); !info.Has(command) {
		s.failed = "the guest agent is not allowed to freeze, or too old: it does not offer " + command
	}
	return nil
}

func (s *session) freezeCommand() string {
	if len(s.o.Mounts) > 0 {
		return "guest-fsfreeze-freeze-list"
	}
	return "guest-fsfreeze-freeze"
}

func hasGuestHooks(list []Hook) bool {
	for _, h := range list {
		if h.Place == InGuest {
			return true
		}
	}
	return false
}

// reason is an error as a record keeps it.
func reason(err error) string { return strings.TrimSpace(err.Error()) }

// mustReach is the error of what is known not to be reached.
func (s *session) mustReach() error {
	if s.o.FallBack || s.o.Asked == blockstore.Crash || s.failed == "" {
		return nil
	}
	return &NotReachedError{s.o.Asked, s.report.Reached, s.failed}
}

// judge says what was reached.
func (s *session) judge(h *hooks) {
	r := &s.report
	switch {
	case r.Asked == blockstore.Crash:
		s.failed = ""
		return
	case !s.frozen:
	case s.failed != "":
	case r.Windows || h.application():
		r.Reached = blockstore.Application
	default:
		r.Reached = blockstore.Filesystem
		if r.Asked == blockstore.Application {
			s.failed = "the file systems were frozen, but no application took part: the guest is not Windows, and no commands ran and succeeded in it"
		}
	}
	r.Reason = s.failed
	if r.Reason == "" && len(s.o.Mounts) > 0 {
		r.Reason = "frozen were only " + strings.Join(s.o.Mounts, ", ")
	}
}

// hold has the snapshot taken, frozen where that is asked for and possible.
func (s *session) hold(ctx context.Context) error {
	if s.o.Asked == blockstore.Crash || s.failed != "" {
		return s.during(ctx)
	}
	called, err := s.freeze(ctx)
	if err != nil || called {
		return err
	}
	if err := s.mustReach(); err != nil {
		return err
	}
	return s.during(ctx)
}

// letGo ends the connection to the guest.
func (s *session) letGo() {
	if c, ok := s.guest.(io.Closer); ok {
		c.Close()
	}
}
