// Package needs says what a test needs of the machine that it runs on. Where that is missing the test is skipped, and
// says why; where HOLDFAST_CI is set, on a machine that was promised to have everything, it fails.
package needs

import (
	"os"
	"os/exec"
	"sync"
	"testing"
)

// Missing says what the test lacks.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("HOLDFAST_CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// That needs something that is there or is not.
func That(t testing.TB, have bool, format string, args ...any) {
	t.Helper()
	if !have {
		Missing(t, "it needs "+format, args...)
	}
}

// Root needs the rights of root.
func Root(t testing.TB) {
	t.Helper()
	That(t, os.Geteuid() == 0, "root")
}

// Tools needs programs.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		Tool(t, name)
	}
}

// Tool needs a program, and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	rootsPath()
	path, err := exec.LookPath(name)
	That(t, err == nil, "%s: `integration/install-deps test` installs it", name)
	return path
}

// rootsPath lets this process find programs where only root's PATH leads.
var rootsPath = sync.OnceFunc(func() { os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin") })
