package quiesce

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

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
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "QUIESCE_TEST_CHILD="+string(text))
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
	if !fake.Frozen() {
		t.Fatal("the guest is not frozen")
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
