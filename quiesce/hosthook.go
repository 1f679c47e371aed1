package quiesce

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// onHost runs a command of the user and returns the end of what it printed. At
// the end of ctx it is killed, with everything that it started and that did not
// leave its process group.
func onHost(ctx context.Context, environment []string, command string) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(os.Environ(), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us to handle
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for output that a child holds open
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended well, and left something behind
		return said.String(), nil
	case ctx.Err() != nil:
		return said.String(), context.Cause(ctx)
	}
	return said.String(), fmt.Errorf("it ended with %w", err)
}

// tail keeps the last of what is written to it. One goroutine uses it at a time.
type tail struct{ b []byte }

const tailLength = 4096

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[max(0, len(p)-tailLength):]...)
	if extra := len(t.b) - tailLength; extra > 0 {
		t.b = append([]byte(nil), t.b[extra:]...)
	}
	return len(p), nil
}

// String is what was kept, as text.
func (t *tail) String() string {
	return strings.TrimSpace(strings.ToValidUTF8(string(t.b), "?"))
}
