package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// callTimeout is how long a call may take; libvirt itself waits 30 s for a
	// domain that is busy.
	callTimeout = 40 * time.Second
	maxOutput   = 16 << 20
	maxMessage  = 2048
)

// Error is a refusal by libvirt or virsh.
type Error struct {
	Command string // virsh's, for example backup-begin
	Message string // in its words, without "error:"
}

func (e *Error) Error() string { return fmt.Sprintf("virsh %s: %s", e.Command, e.Message) }

// says tells whether err is a refusal in these words.
func says(err error, words ...string) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, w := range words {
		if strings.Contains(e.Message, w) {
			return true
		}
	}
	return false
}

// document is given to virsh as a file that lies in memory.
type document string

// virsh runs one command and returns what it printed. Arguments are strings and
// documents; a document becomes the path of a file that holds it.
func (h *Host) virsh(ctx context.Context, command string, args ...any) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer from libvirt within %v", callTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, h.tool, "--connect="+h.uri, command)
	if command != "domfsfreeze" && command != "domfsthaw" { // which then would not say how many
		cmd.Args = slices.Insert(cmd.Args, 1, "--quiet")
	}
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANGUAGE=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is for us to handle
	cmd.WaitDelay = time.Second
	for _, a := range args {
		d, ok := a.(document)
		if !ok {
			cmd.Args = append(cmd.Args, a.(string))
			continue
		}
		f, err := inMemory(string(d))
		if err != nil {
			return "", fmt.Errorf("virsh %s: %w", command, err)
		}
		defer f.Close()
		cmd.Args = append(cmd.Args, fmt.Sprintf("/proc/self/fd/%d", 3+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	out, said := &bounded{limit: maxOutput, full: cancel}, &bounded{limit: maxMessage}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case out.over:
		return "", fmt.Errorf("virsh %s: more than %d MiB of output", command, maxOutput>>20)
	case ctx.Err() != nil:
		return "", fmt.Errorf("virsh %s: %w", command, context.Cause(ctx))
	case err != nil && len(said.kept) > 0:
		return "", &Error{Command: command, Message: message(said.String())}
	case err != nil:
		return "", fmt.Errorf("virsh %s: %w", command, err)
	}
	return out.String(), nil
}

// inMemory is a file with these contents that no folder names.
func inMemory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("holdfast", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "document")
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// message makes one line of virsh's error lines.
func message(said string) string {
	var parts []string
	for _, line := range strings.Split(said, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "error:"))
		if line != "" {
			parts = append(parts, line)
		}
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.Join(parts, ": "))
	return strings.ToValidUTF8(clean, "?")
}

// bounded keeps what is written to it up to a limit, and drops the rest.
type bounded struct {
	kept  []byte
	limit int
	full  func() // called when there is more; may be nil
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - len(b.kept)
	b.kept = append(b.kept, p[:min(room, len(p))]...)
	if len(p) > room {
		b.over = true
		if b.full != nil {
			b.full()
		}
	}
	return len(p), nil
}

func (b *bounded) String() string { return string(b.kept) }
