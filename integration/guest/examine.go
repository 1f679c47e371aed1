package guest

import (
	"os"
	"os/exec"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/guest/journal"
	"github.com/holdfast-backup/holdfast/integration/needs"
)

// Examine takes raw images of both disks, as a restore made them, and fails the test unless their
// file systems are whole, their journals are, and both are of one instant. fsck
// changes the images: it replays what a crash-consistent one left in the file system's journal. It
// returns the number of the last record on both.
func Examine(t testing.TB, root, data string) uint64 {
	t.Helper()
	a := last(t, root, "/var/lib/journal.a")
	b := last(t, data, "/journal.b")
	if a != b && a != b+1 {
		t.Errorf("the disks are of two moments: one ends with record %d, the other with %d", a, b)
	}
	return b
}

func last(t testing.TB, image, path string) uint64 {
	t.Helper()
	fsck := exec.Command(needs.Tool(t, "e2fsck"), "-f", "-p", image)
	if out, err := fsck.CombinedOutput(); err != nil && fsck.ProcessState.ExitCode() > 1 { // 1: the journal was replayed
		t.Errorf("the file system in %s is damaged: %s", image, out)
	}
	// What replay may leave to do is nothing but that.
	if out, err := exec.Command(needs.Tool(t, "e2fsck"), "-f", "-n", image).CombinedOutput(); err != nil {
		t.Errorf("the file system in %s is damaged: %s", image, out)
	}
	file := t.TempDir() + "/journal"
	if out, err := exec.Command(needs.Tool(t, "debugfs"), "-R", "dump "+path+" "+file, image).CombinedOutput(); err != nil {
		t.Fatalf("read %s of %s: %s", path, image, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := journal.Parse(b)
	if err != nil {
		t.Errorf("%s on %s: %v", path, image, err)
	}
	if n == 0 {
		t.Errorf("%s on %s is empty: the guest's writer did not run", path, image)
	}
	return n
}
