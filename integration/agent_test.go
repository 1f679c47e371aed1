package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// withAgent is a machine whose guest is nothing but an agent that follows a script.
func withAgent(t *testing.T, s agenttest.Script) (*protected, *agenttest.Agent) {
	t.Helper()
	a := agenttest.Start(t, s)
	return &protected{newMachine(t), newVault(t)}, a
}

// how is what a point says of how it was taken.
type how struct {
	Consistency string `json:"consistency"`
	Reason      string `json:"consistency_reason"`
	Quiesced    struct {
		WindowMS float64 `json:"window_ms"`
		Hooks    []struct{ Place, Phase, Error string }
	}
}

func (p *protected) latest() (h how) {
	p.machine.t.Helper()
	if err := json.Unmarshal([]byte(p.must(0, "point", "show", "web-1@latest", "--json").out), &h); err != nil {
		p.machine.t.Fatal(err)
	}
	return h
}

func TestAGuestWithAnAgentIsBackedUpConsistentlyUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	p, a := withAgent(t, agenttest.Script{})
	if o := p.protect("--qga", a.Socket); !strings.Contains(o.out, "consistency: filesystem, otherwise fall-back") {
		t.Errorf("protect: %s", o.out)
	}
	p.backUp(0)
	if h := p.latest(); h.Consistency != "filesystem" || h.Reason != "" || h.Quiesced.WindowMS <= 0 || a.Frozen() {
		t.Errorf("the point says %+v; frozen %v", h, a.Frozen())
	}
	p.protect("--qga", a.Socket, "--consistency", "application", "--guest-pre", "sync", "--post", "exit 3")
	p.backUp(3) // the command after the snapshot failed
	if h := p.latest(); h.Consistency != "application" || len(h.Quiesced.Hooks) != 2 || h.Quiesced.Hooks[0].Place != "guest" && h.Quiesced.Hooks[1].Place != "guest" {
		t.Errorf("the point says %+v", h)
	}
	p.protect("--qga", a.Socket, "--consistency", "filesystem", "--otherwise", "fail")
	a.Stop()
	p.must(1, "backup", "web-1", "--min-free", "none")
	p.clean(2)
	p.must(3, "protect", "web-1", "--qmp", p.machine.path("qmp"), "--qga", a.Socket, "--scratch", p.machine.path("scratch"), "--scratch-free", "1MiB",
		"--consistency", "filesystem", "--otherwise", "fall-back") // none answers now
	p.backUp(3)
	if h := p.latest(); h.Consistency != "crash" || h.Reason == "" {
		t.Errorf("without the agent the point says %+v", h)
	}
}

func TestABackupThatIsKilledWhileTheGuestIsFrozenLeavesItThawed(t *testing.T) {
	t.Parallel()
	var kills atomic.Bool
	victim := make(chan *running, 1)
	p, a := withAgent(t, agenttest.Script{Raw: func(command string) []byte {
		if command != "guest-fsfreeze-thaw" || !kills.CompareAndSwap(true, false) {
			return nil
		}
		if b := <-victim; b != nil {
			for b.cmd.Process.Signal(syscall.SIGKILL); !b.ended(); time.Sleep(time.Millisecond) {
			}
		}
		return []byte{} // what it said is heard by nobody
	}})
	defer close(victim)
	p.protect("--qga", a.Socket)
	p.backUp(0)
	p.write("vda", 9, 33<<20, "64k")
	kills.Store(true)
	b := p.vault.start("backup", "web-1", "--min-free", "none")
	victim <- b
	if o := b.wait(); o.code != -1 || !slices.Contains(a.Said(), "guest-fsfreeze-freeze") {
		t.Fatalf("exit code %d: %s", o.code, o.err)
	}
	eventually(t, "the guard has thawed the guest", func() bool { return !a.Frozen() })
	if r := p.backUp(0); r.modes() != "vda bitmap, vdb bitmap" {
		t.Errorf("the next run: %s", r.modes())
	}
	p.clean(2)
}

func TestAWindowsGuestIsToldAboutAndVSSIsNotTrusted(t *testing.T) {
	t.Parallel()
	p, a := withAgent(t, agenttest.Script{Windows: true})
	flags := []string{"protect", "web-1", "--qmp", p.machine.path("qmp"), "--qga", a.Socket, "--scratch", p.machine.path("scratch"), "--scratch-free", "1MiB"}
	if o := p.must(3, flags...); !strings.Contains(o.err, "VssOption") {
		t.Errorf("protect: %s", o.err)
	}
	p.must(0, append(flags, "--accept-vss")...)
	p.backUp(0)
	if h := p.latest(); h.Consistency != "application" {
		t.Errorf("the point says %+v", h)
	}
}
