package quiesce

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/quiesce/qga"
	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// setUp starts a scripted agent, and returns options that freeze its guest.
func setUp(t *testing.T, s agenttest.Script) (*agenttest.Agent, *qga.Agent, Options) {
	t.Helper()
	fake := agenttest.Start(t, s)
	journal, err := OpenJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	agent := qga.New(fake.Socket)
	t.Cleanup(func() { agent.Close() })
	return fake, agent, Options{Machine: "web1", Asked: blockstore.Filesystem, Reach: Reach{QGA: fake.Socket}, Journal: journal,
		FreezeTimeout: 5 * time.Second, ThawTimeout: 20 * time.Second}
}

// noted tells how many freezes are in the journal.
func noted(t *testing.T, j *Journal) int {
	t.Helper()
	paths, err := entries(j.dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(paths)
}

func TestTheSnapshotIsTakenWhileTheGuestIsFrozen(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	o.Guard = testGuard()
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error {
		if !fake.Frozen() {
			t.Error("the guest is not frozen")
		}
		if noted(t, o.Journal) != 1 {
			t.Error("the freeze is not noted")
		}
		return nil
	})
	if err != nil || r.Reached != blockstore.Filesystem || r.Reason != "" || r.Window <= 0 || r.Frozen != 2 || r.Agent != "7.2.22" || len(r.Warnings) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if fake.Frozen() || noted(t, o.Journal) != 0 {
		t.Errorf("frozen: %v, noted: %d", fake.Frozen(), noted(t, o.Journal))
	}
}

func TestWhatIsReachedIsWhatWasSeen(t *testing.T) {
	t.Parallel()
	ours, theirs := errors.New("the snapshot failed"), context.Canceled
	tests := []struct {
		name    string
		script  agenttest.Script
		asked   blockstore.Consistency
		change  func(*Options)
		during  func(*agenttest.Agent)
		fails   error // of during
		reached blockstore.Consistency
		reason  string // part of it
	}{
		{name: "nothing asked", asked: "", reached: "crash"},
		{name: "crash asked", asked: "crash", script: agenttest.Script{Absent: true}, reached: "crash"},
		{name: "no agent", script: agenttest.Script{Absent: true}, reached: "crash", reason: "does not answer"},
		{name: "an agent that may not freeze", script: agenttest.Script{Lacks: []string{"guest-fsfreeze-freeze"}}, reached: "crash", reason: "not allowed to freeze"},
		{name: "a freeze that is refused", script: agenttest.Script{FreezeError: "failed to freeze /srv"}, reached: "crash", reason: "failed to freeze /srv"},
		{name: "nothing to freeze", script: agenttest.Script{Filesystems: -1}, reached: "crash", reason: "no file system"},
		{name: "a freeze that happens after its time-out", script: agenttest.Script{FreezeTakes: 400 * time.Millisecond},
			change: func(o *Options) { o.FreezeTimeout = 100 * time.Millisecond }, reached: "crash", reason: "no answer within 100ms"},
		{name: "application without anybody to speak for it", asked: "application", reached: "filesystem", reason: "no application took part"},
		{name: "chosen mount points", change: func(o *Options) { o.Mounts = []string{"/srv"} }, reached: "filesystem", reason: "frozen were only /srv"},
		{name: "Windows", script: agenttest.Script{Windows: true}, asked: "application", reached: "application"},
		{name: "Windows, where VSS gives up", script: agenttest.Script{Windows: true, ThawsItself: 20 * time.Millisecond}, asked: "application",
			during: func(a *agenttest.Agent) { waitFor(t, func() bool { return !a.Frozen() }) }, reached: "crash", reason: "limited up to 10 seconds"},
		{name: "somebody thaws meanwhile", during: func(a *agenttest.Agent) { a.SetFrozen(0) }, reached: "crash", reason: "somebody else thawed"},
		{name: "somebody froze before", change: func(o *Options) {}, during: nil, script: agenttest.Script{}, reached: "crash", reason: "frozen already"},
		{name: "no journal", change: func(o *Options) { o.Journal = nil }, reached: "crash", reason: "no journal"},
		{name: "a journal that cannot be written", change: func(o *Options) { o.Journal = &Journal{"/proc/self/nowhere"} }, reached: "crash", reason: "note the freeze"},
		{name: "a guard that does not start", change: func(o *Options) { o.Guard = Guard{Command: []string{"/bin/false"}} }, reached: "crash", reason: "not ready"},
		{name: "the snapshot fails", fails: ours, reached: "filesystem"},
		{name: "the snapshot is cancelled", fails: theirs, reached: "filesystem"},
	}
	for _, test := range tests {
		for _, fallBack := range []bool{true, false} {
			t.Run(test.name+map[bool]string{true: ", falling back", false: ", or nothing"}[fallBack], func(t *testing.T) {
				t.Parallel()
				fake, agent, o := setUp(t, test.script)
				foreign := test.reason == "frozen already"
				if foreign {
					fake.SetFrozen(1)
				}
				o.FallBack = fallBack
				if o.Asked = test.asked; test.name != "nothing asked" && test.asked == "" {
					o.Asked = blockstore.Filesystem
				}
				if test.change != nil {
					test.change(&o)
				}
				called := 0
				r, err := Quiesce(t.Context(), agent, o, func(context.Context) error {
					called++
					if test.during != nil {
						test.during(fake)
					}
					return test.fails
				})
				if r.Reached != test.reached || (r.Reason == "") != (test.reason == "") || !strings.Contains(r.Reason, test.reason) {
					t.Errorf("reached %s, since %q", r.Reached, r.Reason)
				}
				var not *NotReachedError
				partly := test.reason == "frozen were only /srv"
				switch {
				case test.fails != nil:
					if !errors.Is(err, test.fails) || called != 1 {
						t.Errorf("called %d times, %v", called, err)
					}
				case fallBack || test.reason == "" || partly:
					if err != nil || called != 1 {
						t.Errorf("called %d times, %v", called, err)
					}
				case !errors.As(err, &not) || not.Reached != test.reached:
					t.Errorf("there is no falling back, and %v", err)
				}
				if fake.Frozen() != foreign {
					t.Errorf("frozen: %v", fake.Frozen())
				}
				if o.Journal != nil && noted(t, o.Journal) != 0 {
					t.Error("the journal has the freeze still")
				}
			})
		}
	}
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
	}
}

func TestACancelledBackupThaws(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	fake, agent, o := setUp(t, agenttest.Script{FreezeTakes: 300 * time.Millisecond, Raw: func(command string) []byte {
		if command == "guest-fsfreeze-freeze" {
			cancel() // while it freezes
		}
		return nil
	}})
	_, err := Quiesce(ctx, agent, o, func(context.Context) error { return errors.New("called") })
	if !errors.Is(err, context.Canceled) || fake.Frozen() || noted(t, o.Journal) != 0 {
		t.Errorf("%v; frozen: %v", err, fake.Frozen())
	}
	if said := fake.Said(); !slices.Contains(said, "guest-fsfreeze-thaw") {
		t.Errorf("the agent was told %v", said)
	}
}

func TestTheSnapshotGetsNoMoreTimeThanTheGuestMayBeFrozen(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	o.HoldTimeout = 50 * time.Millisecond
	_, err := Quiesce(t.Context(), agent, o, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
	if err == nil || !strings.Contains(err.Error(), "frozen for longer") || fake.Frozen() {
		t.Errorf("%v; frozen: %v", err, fake.Frozen())
	}
}

func TestAPanicOfTheSnapshotThaws(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	func() {
		defer func() { recover() }()
		Quiesce(t.Context(), agent, o, func(context.Context) error { panic("a fault of ours") })
	}()
	if fake.Frozen() || noted(t, o.Journal) != 0 {
		t.Error("the guest is frozen, or is noted to be")
	}
}

func TestThawIsTriedUntilTheAgentIsBack(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{Dies: "guest-fsfreeze-thaw"})
	go func() {
		for !fake.Dead() {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		fake.Revive()
	}()
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { return nil })
	if err == nil || r.Reached != blockstore.Crash || fake.Frozen() || noted(t, o.Journal) != 0 {
		t.Errorf("%+v, %v; frozen: %v", r, err, fake.Frozen())
	}
}

func TestAGuestThatCannotBeThawedIsAnErrorAndTheGuardGoesOn(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{Dies: "guest-fsfreeze-thaw"})
	o.ThawTimeout, o.FallBack, o.Guard = 200*time.Millisecond, true, testGuard()
	_, err := Quiesce(t.Context(), agent, o, func(context.Context) error { return nil })
	var still *StillFrozenError
	if !errors.As(err, &still) || noted(t, o.Journal) != 1 {
		t.Fatalf("%v, noted %d", err, noted(t, o.Journal))
	}
	fake.Revive()
	waitFor(t, func() bool { return !fake.Frozen() && noted(t, o.Journal) == 0 })
}

func TestAnAgentThatHangsInTheFreezeDoesNotCostThePoint(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{Dies: "guest-fsfreeze-freeze"})
	o.FreezeTimeout, o.ThawTimeout, o.FallBack, o.Guard = 2*time.Second, 200*time.Millisecond, true, testGuard() // the freeze is to be asked for by then
	o.Hooks = []Hook{{Place: InGuest, Pre: "true", Post: "true"}}
	called := false
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { called = true; return nil })
	if err != nil || !called || r.Reached != blockstore.Crash || !strings.Contains(strings.Join(r.Warnings, "\n"), "may still be frozen") {
		t.Errorf("called: %v, %+v, %v", called, r, err)
	}
	if noted(t, o.Journal) != 1 {
		t.Error("the journal does not have the freeze")
	}
	fake.Revive() // agent is not closed: it must not stand in the guard's way
	waitFor(t, func() bool { return noted(t, o.Journal) == 0 })
}

func TestAMachineThatEndsWhileItIsFrozenIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { fake.Stop(); return nil })
	var not *NotReachedError
	if !errors.As(err, &not) || r.Reached != blockstore.Crash || !strings.Contains(r.Reason, "ended while it was frozen") || noted(t, o.Journal) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAGuestThatAnEarlierBackupLeftFrozenIsThawedFirst(t *testing.T) {
	t.Parallel()
	fake, agent, o := setUp(t, agenttest.Script{})
	fake.SetFrozen(2)
	note, err := o.Journal.begin(Entry{Version: entryVersion, Machine: "web1", Reach: o.Reach, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	note.leave()
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { return nil })
	if err != nil || r.Reached != blockstore.Filesystem || len(r.Warnings) != 1 || fake.Frozen() || noted(t, o.Journal) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestABackupWaitsForTheGuardOfTheOneBefore(t *testing.T) {
	t.Parallel()
	_, agent, o := setUp(t, agenttest.Script{})
	note, err := o.Journal.begin(Entry{Version: entryVersion, Machine: "web1", Reach: o.Reach, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, func() { note.done() })
	r, err := Quiesce(t.Context(), agent, o, func(context.Context) error { return nil })
	if err != nil || r.Reached != blockstore.Filesystem {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhatIsMissingIsNamedWhenThereIsNoGuest(t *testing.T) {
	t.Parallel()
	r, err := Quiesce(t.Context(), nil, Options{Asked: blockstore.Filesystem, FallBack: true, NoGuest: os.ErrPermission},
		func(context.Context) error { return nil })
	if err != nil || r.Reached != blockstore.Crash || r.Reason != os.ErrPermission.Error() {
		t.Errorf("%+v, %v", r, err)
	}
}
