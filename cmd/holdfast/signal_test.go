package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

// asProgram makes the test binary behave as the program.
const asProgram = "HOLDFAST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	if signal.Ignored(os.Interrupt) { // by who runs the tests in the background; the program is not to inherit that
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
	os.Exit(m.Run())
}

// start runs the program in a process of its own and returns once it wrote a
// line that holds text.
func (y *yard) start(text string, words ...string) (*exec.Cmd, *bufio.Reader) {
	y.t.Helper()
	cmd := exec.Command(os.Args[0], words...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "HOLDFAST_VAULT="+y.env["HOLDFAST_VAULT"])
	pipe, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		y.t.Fatal(err)
	}
	y.t.Cleanup(func() { cmd.Process.Kill() }) // where the test has failed before its end
	lines := bufio.NewReader(pipe)
	for said := ""; ; {
		line, err := lines.ReadString('\n')
		if said += line; strings.Contains(line, text) {
			return cmd, lines
		}
		if err != nil {
			y.t.Fatalf("%q was not said: %s", text, said)
		}
	}
}

// end waits for the program and returns its exit code and what else it said.
func end(t *testing.T, cmd *exec.Cmd, lines *bufio.Reader) (int, string) {
	t.Helper()
	said, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(said)
}

func TestCtrlCStopsABackupAndSaysWhatIsLeft(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	owner, err := blockstore.Own(t.Context(), y.path("vault"), blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		cmd, lines := y.start("waiting: ", "backup", "web1", "--disk", "vda="+y.path("vda.img"))
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		code, said := end(t, cmd, lines)
		if code != exitInterrupted || !strings.Contains(said, "error: interrupted\nhint: nothing was stored") {
			t.Errorf("%v: exit code %d: %s", signal, code, said)
		}
	}
}

func TestAVaultInUseIsSaidToWhoDoesNotWait(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	owner, err := blockstore.Own(t.Context(), y.path("vault"), blockstore.OwnOptions{MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	// Locks do not tell parts of one process apart: another process asks.
	cmd, lines := y.start("error: ", "backup", "web1", "--no-wait", "--disk", "vda="+y.path("vda.img"))
	if code, said := end(t, cmd, lines); code != exitBusy || !strings.Contains(said, "--wait") {
		t.Errorf("exit code %d: %s", code, said)
	}
	// What is wrong anyway is said without waiting.
	y.must(exitNotFound, "backup", "web1", "--disk", "vda="+y.path("none")).says(t, "no such file")
	y.must(exitDone, "points")
	y.must(exitDone, "restore", "web1@latest", "--disk", "vda", "--to", y.path("back"))
	y.must(exitDone, "check")
}
