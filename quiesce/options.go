package quiesce

import (
	"context"
	"fmt"
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

// meetTimeout bounds what is asked before hooks and freeze, of an agent that answers.
const meetTimeout = 10 * time.Second

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
