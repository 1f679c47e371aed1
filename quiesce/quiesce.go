package quiesce

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// Quiesce calls during, which takes the snapshot, at a moment of the
// consistency that was asked for. The guest is thawed when it returns, or the
// error is a [*StillFrozenError]; a g that is an [io.Closer] is closed then, and is not
// to be used, so that the guard can reach the agent. (Where the freeze itself got no answer, and there is
// falling back, that is a warning, and the snapshot is taken.) A nil g means that the
// guest has no agent.
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
	s.letGo = h.letGo
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

// session is one Quiesce.
type session struct {
	guest  Guest // nil: nobody answers
	absent error // why
	o      Options
	during func(context.Context) error
	report Report
	failed string // why the guest was not frozen, or not for long enough; "": nothing is known against it
	frozen bool   // for the whole of during
	clean  bool   // nothing is frozen any more
	letGo  func(why error)
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
		ctx, cancel := context.WithTimeoutCause(ctx, meetTimeout, fmt.Errorf("the guest agent did not say within %s what it is", meetTimeout))
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
