package image

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// need skips the test when a tool is missing; where everything must be there,
// it fails.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool+" is not installed")
		}
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "needs root")
	}
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("HOLDFAST_CI") == "1" {
		t.Fatal(what)
	}
	t.Skip(what)
}

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
	needRoot(t)
	need(t, "losetup")
	out, err := exec.Command("losetup", "-f", "--show", file).CombinedOutput()
	if err != nil {
		missing(t, "no loop device: "+string(out))
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() { run(t, "losetup", "-d", dev) })
	return dev
}
