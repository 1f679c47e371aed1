package backup_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// agent is a guest agent that notes what it is asked in its host's calls.
type agent struct {
	h      *host
	frozen bool
	fails  error // of freeze
}

func (a *agent) Ping(context.Context) error                 { return nil }
func (a *agent) Info(context.Context) (qga.Info, error)     { return qga.Info{Version: "7.2"}, nil }
func (a *agent) OSInfo(context.Context) (qga.OSInfo, error) { return qga.OSInfo{ID: "debian"}, nil }

func (a *agent) Freeze(context.Context, []string) (int, error) {
	a.h.call("freeze")
	if a.fails != nil {
		return 0, a.fails
	}
	a.frozen = true
	return 2, nil
}

func (a *agent) Thaw(context.Context) (int, error) {
	a.h.call("thaw")
	was := a.frozen
	a.frozen = false
	if was {
		return 2, nil
	}
	return 0, nil
}

func (a *agent) Frozen(context.Context) (bool, error) { return a.frozen, nil }

func (a *agent) Exec(context.Context, qga.ExecRequest) (qga.ExecResult, error) {
	a.h.call("exec")
	return qga.ExecResult{}, nil
}

func newAgentPlant(t *testing.T, change func(*blockstore.Protection)) (*plant, *agent) {
	t.Helper()
	h := newHost(4 * block)
	a := &agent{h: h}
	h.guest = a
	p := newPlant(t, h)
	p.protect(func(r *blockstore.Protection) {
		r.Consistency = blockstore.Filesystem
		change(r)
	})
	j, err := quiesce.OpenJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	p.q.Journal = j
	return p, a
}

func TestTheGuestIsFrozenOnlyWhileTheSnapshotIsTaken(t *testing.T) {
	t.Parallel()
	p, _ := newAgentPlant(t, func(r *blockstore.Protection) {
		r.Hooks = []blockstore.Hook{{Pre: "sync", Post: "echo", Guest: true}}
	})
	r := p.good()
	var order []string
	for _, c := range p.calls {
		if slices.Contains([]string{"freeze", "thaw", "exec", "transaction", "read"}, c) && (len(order) == 0 || order[len(order)-1] != c) {
			order = append(order, c)
		}
	}
	if got := strings.Join(order, " "); got != "exec freeze transaction thaw exec read" {
		t.Errorf("the order is %s", got)
	}
	q := r.Point.Quiesced
	if r.Point.Reached != blockstore.Application || r.Point.Asked != blockstore.Filesystem || q.Agent != "7.2" || q.WindowMS <= 0 || len(q.Hooks) != 2 || !q.Hooks[0].Guest || !q.Hooks[1].After {
		t.Errorf("%s reached, %+v", r.Point.Reached, q)
	}
}

func TestLessThanWasAskedForIsAWarningOrAFailure(t *testing.T) {
	t.Parallel()
	p, a := newAgentPlant(t, func(r *blockstore.Protection) { r.FallBack = true })
	a.fails = errors.New("the agent is not allowed to")
	r := p.good()
	if r.Point.Reached != blockstore.Crash || !strings.Contains(r.Point.Reason, "not allowed") || !strings.Contains(strings.Join(r.Warnings, ""), "filesystem was asked for, and crash was reached") {
		t.Errorf("%s (%s); warnings %q", r.Point.Reached, r.Point.Reason, r.Warnings)
	}
	p, a = newAgentPlant(t, func(*blockstore.Protection) {})
	a.fails = errors.New("the agent is not allowed to")
	var not *quiesce.NotReachedError
	if _, err := p.run(); !errors.As(err, &not) {
		t.Errorf("ended with %v", err)
	}
	if len(p.bitmaps) != 0 || a.frozen {
		t.Errorf("left are %v, frozen %v", p.bitmaps, a.frozen)
	}
	points(t, p.o, 0)
}
