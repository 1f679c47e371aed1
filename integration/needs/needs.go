// Package needs says what a test needs of the machine that it runs on. Where that is missing the test is skipped, and
// says why; where HOLDFAST_CI is set, on a machine that was promised to have everything, it fails.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// That needs something that is there or is not.
func That(t testing.TB, have bool, format string, args ...any) {
	t.Helper()
	if have {
		return
	}
	what := "it needs " + fmt.Sprintf(format, args...)
	if os.Getenv("HOLDFAST_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Root needs the rights of root, for something.
func Root(t testing.TB, to string) {
	t.Helper()
	That(t, os.Geteuid() == 0, "root, to %s", to)
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
