package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga/agenttest"
)

// TestTheProgramIsAGuardThatThawsWhenItsBackupDies plays the backup: it gives its
// guard the orders that a freeze begins with, and then is not heard of again.
func TestTheProgramIsAGuardThatThawsWhenItsBackupDies(t *testing.T) {
	t.Parallel()
	fake := agenttest.Start(t, agenttest.Script{})
	fake.SetFrozen(2)
	note := filepath.Join(t.TempDir(), "web1.freeze")
	reach := fmt.Sprintf(`{"qga":%q}`, fake.Socket)
	if err := os.WriteFile(note, []byte(`{"version":1,"machine":"web1","reach":`+reach+`}`), 0o600); err != nil {
		t.Fatal(err)
	}
	guard := exec.Command(binary, "__guard")
	guard.Env = []string{} // it needs nothing of it
	in, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := guard.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	guard.Stderr = os.Stderr
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guard.Process.Kill(); guard.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the guard says %q, %v", line, err)
	}
	fmt.Fprintf(in, `{"do":"freeze","reach":%s,"journal":%q}`+"\n", reach, note)
	for range 3 { // nothing that ends processes ends it
		guard.Process.Signal(syscall.SIGTERM)
		time.Sleep(10 * time.Millisecond)
	}
	if !fake.Frozen() {
		t.Error("it thawed before its backup died")
	}
	in.Close()
	if err := guard.Wait(); err != nil {
		t.Errorf("the guard: %v", err)
	}
	if _, err := os.Stat(note); fake.Frozen() || !os.IsNotExist(err) {
		t.Errorf("frozen: %v, its note: %v", fake.Frozen(), err)
	}
}
