package image

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/integration/needs"
)

// run runs a tool and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// loopDevice sets up a loop device over a file for the test's duration.
func loopDevice(t testing.TB, file string) string {
	t.Helper()
	needs.Root(t)
	needs.Tools(t, "losetup")
	out, err := exec.Command("losetup", "-f", "--show", file).CombinedOutput()
	if err != nil {
		needs.Missing(t, "no loop device: %v", string(out))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { run(t, "losetup", "-d", dev) })
	return dev
}
