package qga_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// dial connects to a scripted agent for the test's duration.
func dial(t *testing.T, s agenttest.Script) (*qga.Agent, *agenttest.Agent) {
	t.Helper()
	fake := agenttest.Start(t, s)
	a, err := qga.Dial(t.Context(), fake.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a, fake
}

func TestAnAgentSaysWhatItIsAndObeys(t *testing.T) {
	t.Parallel()
	a, _ := dial(t, agenttest.Script{Lacks: []string{"guest-exec"}})
	ctx := t.Context()
	info, err := a.Info(ctx)
	if err != nil || info.Version != "7.2.22" || !info.Has("guest-fsfreeze-freeze") || info.Has("guest-exec") || info.Has("guest-nonsense") {
		t.Errorf("Info is %+v, %v", info, err)
	}
	if system, err := a.OSInfo(ctx); err != nil || system.ID != "debian" || system.Windows() {
		t.Errorf("OSInfo is %+v, %v", system, err)
	}
	if list, err := a.Filesystems(ctx); err != nil || len(list) != 1 || list[0].Mountpoint != "/" {
		t.Errorf("Filesystems are %+v, %v", list, err)
	}
	for i, step := range []func() (any, error){
		func() (any, error) { return a.Frozen(ctx) },
		func() (any, error) { return a.Freeze(ctx, nil) },
		func() (any, error) { return a.Frozen(ctx) },
		func() (any, error) { return a.Thaw(ctx) },
		func() (any, error) { return a.Thaw(ctx) },
		func() (any, error) { return a.Freeze(ctx, []string{"/srv"}) },
		func() (any, error) { return a.Thaw(ctx) },
	} {
		want := []any{false, 2, true, 2, 0, 1, 1}[i]
		if got, err := step(); err != nil || got != want {
			t.Errorf("step %d: %v, %v; want %v", i, got, err, want)
		}
	}
	var refused *qga.Error
	if _, err := a.Exec(ctx, qga.ExecRequest{Path: "true"}); !errors.As(err, &refused) || !refused.Disabled() {
		t.Errorf("a disabled command: %v", err)
	}
}

func TestAnAgentThatDoesNotAnswerIsFoundOutBeforeACommandIsSent(t *testing.T) {
	t.Parallel()
	flood := func(b byte) func(string) []byte {
		return func(string) []byte { return bytes.Repeat([]byte{b}, 1<<20) }
	}
	tests := map[string]agenttest.Script{
		"nobody opened the port": {Absent: true},
		"it hangs":               {Dies: "guest-sync-delimited"},
		"garbage":                {Raw: func(string) []byte { return []byte("\x00\x01{]}\n\n{\"return\":{}}\n") }},
		"delimiters for ever":    {Raw: flood(0xff)},
		"a line without end":     {Raw: flood('x')},
		"a string without end":   {Raw: func(string) []byte { return append([]byte(`{"return":"`), bytes.Repeat([]byte{'x'}, 1<<20)...) }},
		"another id":             {Raw: func(string) []byte { return []byte("\xff{\"return\":17}\n") }},
		"an error":               {Raw: func(string) []byte { return []byte("\xff{\"error\":{\"class\":\"x\",\"desc\":\"y\"}}\n") }},
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := agenttest.Start(t, script)
			_, err := qga.Dial(t.Context(), fake.Socket)
			if !errors.Is(err, qga.ErrAbsent) {
				t.Errorf("Dial: %v", err)
			}
			if said := fake.Said(); len(said) != 0 {
				t.Errorf("it was sent %v", said)
			}
		})
	}
}

func TestASocketThatNobodyServesIsToldApart(t *testing.T) {
	t.Parallel()
	if _, err := qga.Dial(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, qga.ErrGone) {
		t.Errorf("no socket: %v", err)
	}
	_, fake := dial(t, agenttest.Script{})
	if _, err := qga.Dial(t.Context(), fake.Socket); !errors.Is(err, qga.ErrBusy) {
		t.Errorf("another client holds it: %v", err)
	}
}

func TestASocketWithALongNameIsReached(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(deep, "qga")
	if _, err := qga.Dial(t.Context(), socket); !errors.Is(err, qga.ErrGone) {
		t.Errorf("before it is there: %v", err)
	}
	if err := os.Rename(fake.Socket, socket); err != nil {
		t.Skip(err) // the folders are on two file systems
	}
	a, err := qga.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
}

func TestAReplyThatComesLateIsNotTakenForTheNextOne(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan struct{})
	a, fake := dial(t, agenttest.Script{Raw: func(command string) []byte {
		if command == "guest-fsfreeze-freeze" {
			cancel()
			<-late
		}
		return nil
	}})
	_, err := a.Freeze(ctx, nil)
	close(late)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("Freeze: %v", err)
	}
	// The freeze happens all the same, and its answer, 2, is not the thaw's or the status's.
	if frozen, err := a.Frozen(t.Context()); err != nil || !frozen {
		t.Errorf("Frozen: %v, %v", frozen, err)
	}
	if n, err := a.Thaw(t.Context()); err != nil || n != 2 || fake.Frozen() {
		t.Errorf("Thaw: %v, %v; frozen: %v", n, err, fake.Frozen())
	}
}

func TestAConnectionThatBreaksIsMadeAnew(t *testing.T) {
	t.Parallel()
	a, fake := dial(t, agenttest.Script{})
	fake.Hangup()
	deadline := time.Now().Add(time.Minute)
	for a.Ping(t.Context()) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the agent is not reached again")
		}
	}
}

func TestHostileRepliesAreErrorsAndTheNextCallWorks(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no JSON":          "hello\n",
		"a list":           "[1,2]\n",
		"nothing":          "{}\n",
		"null":             "null\n",
		"another type":     "{\"return\":[]}\n",
		"a huge number":    "{\"return\":1e999}\n",
		"deep":             "{\"return\":" + strings.Repeat("[", 100000) + "\n",
		"too much":         "{\"return\":[" + strings.Repeat("1,", 1<<20) + "1]}\n",
		"an error's error": "{\"error\":17}\n",
	}
	for name, raw := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, _ := dial(t, agenttest.Script{Raw: func(command string) []byte {
				if command == "guest-fsfreeze-freeze" {
					return []byte(raw)
				}
				return nil
			}})
			if n, err := a.Freeze(t.Context(), nil); err == nil || len(err.Error()) > 1000 {
				t.Errorf("Freeze: %d, %v", n, err)
			}
			if err := a.Ping(t.Context()); err != nil {
				if err := a.Ping(t.Context()); err != nil {
					t.Errorf("after that: %v", err)
				}
			}
		})
	}
}

func TestWhatAnAgentSaysIsCutAndMadePlain(t *testing.T) {
	t.Parallel()
	a, _ := dial(t, agenttest.Script{FreezeError: "a\nb\x80" + strings.Repeat("long ", 1000)})
	_, err := a.Freeze(t.Context(), nil)
	if err == nil || len(err.Error()) > 1000 || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "a b") {
		t.Errorf("Freeze: %v", err)
	}
}

func TestAProgramRunsInTheGuestAndItsOutputIsBounded(t *testing.T) {
	t.Parallel()
	a, _ := dial(t, agenttest.Script{})
	tests := []struct {
		command, out string
		code         int
		cut          bool
	}{
		{"printf hello", "hello", 0, false},
		{"echo sorry >&2; exit 7", "", 7, false},
		{"printf \"$X\"", "from outside", 0, false},
		{"head -c 1000000 /dev/zero | tr '\\0' a", strings.Repeat("a", 72<<10), 0, true},
	}
	for _, test := range tests {
		r, err := a.Exec(t.Context(), qga.ExecRequest{Path: "/bin/sh", Args: []string{"-c", test.command}, Env: []string{"X=from outside", "PATH=/bin:/usr/bin"}})
		if err != nil || r.ExitCode != test.code || r.OK() != (test.code == 0) || string(r.Stdout) != test.out || r.Cut != test.cut {
			t.Errorf("%s: code %d, %d bytes of output, cut %v, %v", test.command, r.ExitCode, len(r.Stdout), r.Cut, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.Exec(ctx, qga.ExecRequest{Path: "/bin/sh", Args: []string{"sleep for ever"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a program that does not end: %v", err)
	}
}

func FuzzAReplyIsDecodedOrRefused(f *testing.F) {
	for _, seed := range []string{`{"return":{}}`, `{"return":2}`, `{"error":{"class":"a","desc":"b"}}`, `{"return":"frozen"}`, `[`, "", "null", `{"return":[{"mountpoint":1}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		agent := qga.Commands{Do: func(_ context.Context, command string, _, reply any) error {
			return qga.Decode(command, message, reply)
		}}
		ctx := t.Context()
		_, err1 := agent.Info(ctx)
		_, err2 := agent.OSInfo(ctx)
		_, err3 := agent.Frozen(ctx)
		_, err4 := agent.Freeze(ctx, nil)
		_, err5 := agent.Filesystems(ctx)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("a long error: %s", fmt.Sprint(err)[:100])
			}
		}
	})
}
