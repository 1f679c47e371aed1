package quiesce

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// frozenBy starts a child that freezes the guest of fake and stands still.
func frozenBy(t *testing.T, fake *agenttest.Agent, o childOrder) *exec.Cmd {
	t.Helper()
	o.Socket = fake.Socket
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := startChild(t, string(text))
	if !slices.Contains(fake.Said(), "guest-fsfreeze-freeze") { // a guard may have thawed it by now
		t.Fatal("the guest was not frozen")
	}
	return cmd
}

// startChild starts a child that does what text orders, and waits until it has frozen.
func startChild(t *testing.T, text string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "QUIESCE_TEST_CHILD="+text)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "frozen\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return cmd
}

func TestABackupThatIsKilledLeavesAThawedGuest(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	dir := t.TempDir()
	parent := frozenBy(t, fake, childOrder{Journal: dir, Guarded: true})
	killed := time.Now()
	parent.Process.Kill()
	waitFor(t, func() bool { return !fake.Frozen() })
	t.Logf("thawed %s after the death of the backup", time.Since(killed).Round(time.Millisecond))
	waitFor(t, func() bool { return noted(t, &Journal{dir}) == 0 })
}

func TestABackupThatIsStoppedIsContinuedAndThaws(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	dir := t.TempDir()
	parent := frozenBy(t, fake, childOrder{Journal: dir, Guarded: true, Polite: true, Limit: time.Second})
	parent.Process.Signal(syscall.SIGSTOP)
	waitFor(t, func() bool { return !fake.Frozen() })
	parent.Wait()
	if code := parent.ProcessState.ExitCode(); code != 1 {
		t.Errorf("the backup ended with %s", parent.ProcessState)
	}
	waitFor(t, func() bool { return noted(t, &Journal{dir}) == 0 })
}

func TestABackupThatStandsStillIsKilledForTheGuest(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	dir := t.TempDir()
	parent := frozenBy(t, fake, childOrder{Journal: dir, Guarded: true, Limit: 100 * time.Millisecond})
	waitFor(t, func() bool { return !fake.Frozen() })
	parent.Wait()
	if status := parent.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the backup ended with %s", parent.ProcessState)
	}
	waitFor(t, func() bool { return noted(t, &Journal{dir}) == 0 })
}

// mayForbidKills tells whether we may lower oom_score_adj: root may not everywhere.
func mayForbidKills(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func TestAGuardEndsByTheEndOfItsWorkAlone(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	fake.SetFrozen(2)
	for name, scope := range map[string][]string{"as it is": nil, "in a scope": {"/usr/bin/env", "--"}, "where scopes do not work": {"/bin/false"}} {
		w, err := Guard{Command: GuardCommand("be-a-guard"), Scope: scope}.start()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
			w.cmd.Process.Signal(s)
		}
		if mayForbidKills(t) {
			score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", w.cmd.Process.Pid))
			if err != nil || string(score) != "-900\n" {
				t.Errorf("%s: it may be killed for memory: %q, %v", name, score, err)
			}
		}
		if sid, err := unix.Getsid(w.cmd.Process.Pid); err != nil || sid != w.cmd.Process.Pid {
			t.Errorf("%s: its session is %d, %v", name, sid, err)
		}
		if err := w.tell(order{Do: "freeze", Reach: Reach{QGA: fake.Socket}, Journal: "/nowhere"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.tell(order{Do: "thawed"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := w.end(); err != nil || !w.cmd.ProcessState.Success() {
			t.Errorf("%s: it ended with %v, %v", name, w.cmd.ProcessState, err)
		}
	}
	if !fake.Frozen() {
		t.Error("a guard that was told that all is thawed thawed")
	}
}

func TestWhatBothDeathsLeaveIsThawedFromTheJournal(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	dir := t.TempDir()
	parent := frozenBy(t, fake, childOrder{Journal: dir})
	list, err := ThawLeftovers(t.Context(), dir)
	if err != nil || len(list) != 1 || list[0].Outcome != Going || !fake.Frozen() {
		t.Fatalf("while it goes on: %+v, %v", list, err)
	}
	parent.Process.Kill()
	parent.Wait()
	list, err = ThawLeftovers(t.Context(), dir)
	if err != nil || len(list) != 1 || list[0].Outcome != Thawed || list[0].Count != 2 || list[0].Entry.Machine != "web1" || fake.Frozen() {
		t.Errorf("%+v, %v; frozen: %v", list, err, fake.Frozen())
	}
	if list, err = ThawLeftovers(t.Context(), dir); err != nil || len(list) != 0 {
		t.Errorf("again: %+v, %v", list, err)
	}
}

func TestLeftoversOfMachinesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	note, err := j.begin(Entry{Version: entryVersion, Machine: "web1", Reach: Reach{QGA: filepath.Join(dir, "none")}, Time: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	note.leave()
	list, err := ThawLeftovers(t.Context(), dir)
	if err != nil || len(list) != 1 || list[0].Outcome != Gone || noted(t, j) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err := ThawLeftovers(t.Context(), filepath.Join(dir, "never", "made")); err != nil || len(list) != 0 {
		t.Errorf("without a journal: %+v, %v", list, err)
	}
}

func TestANoteThatCannotBeReadIsToldAndKept(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "garbage", `{"version":9}`, `{"version":1}`, `{"version":1,"reach":{"qga":"/x","domain":"y"}}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.freeze"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := ThawLeftovers(t.Context(), dir)
		if err != nil || len(list) != 1 || list[0].Outcome != Failed || list[0].Err == nil || noted(t, &Journal{dir}) != 1 {
			t.Errorf("%q: %+v, %v", text, list, err)
		}
	}
}

func FuzzANoteIsReadOrRefused(f *testing.F) {
	f.Add([]byte(`{"version":1,"machine":"web1","reach":{"qga":"/x"},"time":"2026-11-23T00:00:00Z","pid":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e Entry
		if parseEntry(text, &e) == nil && (e.Reach.QGA == "") == (e.Reach.Domain == "") {
			t.Errorf("%+v", e)
		}
	})
}
