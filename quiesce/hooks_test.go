package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// diary returns a command that notes a word, with what a hook knows, and what was noted.
func diary(t *testing.T) (note func(string) string, noted func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "diary")
	return func(word string) string {
			return fmt.Sprintf("echo %s:$HOLDFAST_MACHINE:$HOLDFAST_PHASE >> %s", word, path)
		},
		func() string {
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			return strings.Join(strings.Fields(string(b)), " ")
		}
}

func TestHooksRunAroundTheFreezeAndApplicationNeedsThoseInTheGuest(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	note, noted := diary(t)
	o.Asked = blockstore.Application
	o.Hooks = []Hook{
		{Place: InGuest, Pre: note("b") + "; echo flushed", Post: note("y")},
		{Place: OnHost, Pre: note("a"), Post: note("z")},
		{Place: InGuest, Post: note("x")},
	}
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error {
		if !fake.Frozen() || noted() != "a:web1:pre b:web1:pre" {
			t.Errorf("frozen: %v, noted: %s", fake.Frozen(), noted())
		}
		return nil
	})
	if err != nil || r.Reached != blockstore.Application || r.Reason != "" || len(r.Hooks) != 5 || r.Hooks[1].Output != "flushed" {
		t.Errorf("%+v, %v", r, err)
	}
	if want := "a:web1:pre b:web1:pre x:web1:post y:web1:post z:web1:post"; noted() != want {
		t.Errorf("noted: %s", noted())
	}
}

func TestAHookThatFailsIsToldAndItsPostCommandRuns(t *testing.T) {
	t.Parallel()
	const never = "sleep 600"
	tests := []struct {
		name     string
		hook     Hook
		script   agenttest.Script
		fallBack bool
		ends     bool // the backup
		reached  blockstore.Consistency
		says     string
	}{
		{name: "on the host", hook: Hook{Place: OnHost, Pre: "echo sorry; exit 3"}, ends: true, reached: "crash", says: "exit status 3"},
		{name: "on the host, and on we go", hook: Hook{Place: OnHost, Pre: "exit 3", ContinueOnFailure: true}, reached: "filesystem", says: "exit status 3"},
		{name: "on the host, without end", hook: Hook{Place: OnHost, Pre: never, Timeout: 100 * time.Millisecond}, ends: true, reached: "crash", says: "did not end within 100ms"},
		{name: "on the host, with a child that holds its output", hook: Hook{Place: OnHost, Pre: "sleep 3 & exit 4"}, ends: true, reached: "crash", says: "exit status 4"},
		{name: "on the host, by a signal", hook: Hook{Place: OnHost, Pre: "kill -TERM $$"}, ends: true, reached: "crash", says: "terminated"},
		{name: "in the guest", hook: Hook{Place: InGuest, Pre: "exit 5"}, ends: true, reached: "crash", says: "code 5"},
		{name: "in the guest, falling back does not mean that", hook: Hook{Place: InGuest, Pre: "exit 5"}, fallBack: true, ends: true, reached: "crash", says: "code 5"},
		{name: "in the guest, and on we go", hook: Hook{Place: InGuest, Pre: "exit 5", ContinueOnFailure: true}, fallBack: true, reached: "filesystem", says: "code 5"},
		{name: "in the guest, without end", hook: Hook{Place: InGuest, Pre: "sleep for ever", Timeout: 100 * time.Millisecond}, ends: true, reached: "crash", says: "did not end within 100ms"},
		{name: "in a guest that forbids it", hook: Hook{Place: InGuest, Pre: "true"}, script: agenttest.Script{Lacks: []string{"guest-exec"}}, ends: true, reached: "crash", says: "BLOCK_RPCS"},
		{name: "in a guest without agent", hook: Hook{Place: InGuest, Pre: "true"}, script: agenttest.Script{Absent: true}, fallBack: true, reached: "crash", says: "does not answer"},
		{name: "after the snapshot", hook: Hook{Place: InGuest, Pre: "true", Post: "exit 6"}, fallBack: true, reached: "filesystem", says: "code 6"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fake, agent, o := setUp(t, test.script)
			note, noted := diary(t)
			o.FallBack, o.Asked = test.fallBack, blockstore.Application
			if test.reached == "filesystem" {
				o.Asked = blockstore.Filesystem
			}
			if test.hook.Post == "" && test.hook.Place == OnHost {
				test.hook.Post = note("post")
			}
			o.Hooks = []Hook{{Place: OnHost, Pre: "true", Post: note("outer")}, test.hook}
			called := false
			r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { called = true; return nil })
			var failed *HookError
			if errors.As(err, &failed) != test.ends || !test.ends && err != nil || called == test.ends {
				t.Errorf("called: %v, %v", called, err)
			}
			if r.Reached != test.reached || fake.Frozen() {
				t.Errorf("reached %s, frozen: %v", r.Reached, fake.Frozen())
			}
			if !strings.Contains(strings.Join(r.Warnings, "\n"), test.says) {
				t.Errorf("warnings: %q", r.Warnings)
			}
			if got := noted(); !strings.HasSuffix(got, "outer:web1:post") || strings.Contains(test.hook.Post, "post:") != strings.Contains(got, "post:web1") {
				t.Errorf("noted: %s", got)
			}
		})
	}
}

func TestNothingRunsWhereItIsKnownBeforeThatTheGuestCannotBeFrozen(t *testing.T) {
	t.Parallel()
	_, agent, o := setUp(t, agenttest.Script{Absent: true})
	note, noted := diary(t)
	o.Hooks = []Hook{{Place: OnHost, Pre: note("pre"), Post: note("post")}}
	_, err := Quiesce(t.Context(), agent, o, func(context.Context) error { return nil })
	var not *NotReachedError
	if !errors.As(err, &not) || noted() != "" {
		t.Errorf("%v, noted: %s", err, noted())
	}
}

func TestOutputOfAHookIsKeptFromItsEnd(t *testing.T) {
	t.Parallel()
	out, err := onHost(t.Context(), nil, "head -c 1000000 /dev/zero | tr '\\0' a; printf '\\200end'")
	if err != nil || len(out) > tailLength+10 || !strings.HasSuffix(out, "a?end") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
