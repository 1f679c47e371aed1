package quiesce

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Guard is how to start the process that thaws a guest when this one dies. The
// zero Guard is none.
type Guard struct {
	// Command is the program and its arguments, which must come to [RunGuard].
	Command []string
	// Scope, where not empty, is put before Command, to start it outside of the
	// group of processes that a service manager kills: see [SystemdScope].
	// When that does not work, the guard is started without.
	Scope []string

	slack, grace time.Duration // 0: guardSlack and guardGrace
}

const (
	guardReady  = "ready\n"
	guardStart  = 5 * time.Second // to be ready
	guardAttend = 2 * time.Second // to end when told

	// guardSlack is what a process gets beyond the longest time that it may need to
	// begin to thaw, before it is woken, and guardGrace after that, before it is killed.
	guardSlack = 5 * time.Second
	guardGrace = 10 * time.Second
)

// SystemdScope returns the words that start a process in a scope of its own,
// where systemd runs this host and we may ask it; else none.
func SystemdScope() []string {
	if _, err := os.Stat("/run/systemd/system"); err != nil || os.Geteuid() != 0 {
		return nil
	}
	if _, err := exec.LookPath("systemd-run"); err != nil {
		return nil
	}
	return []string{"systemd-run", "--scope", "--quiet", "--collect", "--description=Holdfast: thaws a guest should its backup die", "--"}
}

// GuardCommand is a Guard's command for the program that runs, with the word
// that makes it a guard. It holds when the program's file was replaced meanwhile.
func GuardCommand(word string) []string {
	self := fmt.Sprintf("/proc/%d/exe", os.Getpid())
	// A process that keeps others from its memory may not use that name, unless root runs it.
	path, err := os.Executable()
	if err != nil {
		return []string{self, word}
	}
	running, runningErr := os.Stat(self)
	if file, err := os.Stat(path); err == nil && (runningErr != nil || os.SameFile(file, running)) {
		return []string{path, word}
	}
	return []string{self, word}
}

// order is a line from a process to its guard.
type order struct {
	Do      string        `json:"do"` // freeze, thawing or thawed
	Reach   Reach         `json:"reach"`
	Journal string        `json:"journal,omitempty"` // file of the entry
	Limit   time.Duration `json:"limit,omitempty"`   // from freeze to thawing; then the process is woken
	Grace   time.Duration `json:"grace,omitempty"`   // after that; then it is killed
}

// watcher is a guard that runs; nil is none.
type watcher struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// order is what the guard of a freeze is told that may take as long as limit.
func (g Guard) order(limit time.Duration) order {
	o := order{Do: "freeze", Limit: limit + guardSlack, Grace: guardGrace}
	if g.slack > 0 {
		o.Limit = limit + g.slack
	}
	if g.grace > 0 {
		o.Grace = g.grace
	}
	return o
}

// start starts the guard and waits until it is ready.
func (g Guard) start() (*watcher, error) {
	if len(g.Scope) > 0 {
		if w, err := startGuard(append(append([]string{}, g.Scope...), g.Command...)); err == nil {
			return w, nil
		}
	}
	w, err := startGuard(g.Command)
	if err != nil {
		return nil, fmt.Errorf("start the process that guards the freeze: %w", err)
	}
	return w, nil
}

func startGuard(command []string) (*watcher, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal's signal reaches it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &watcher{cmd, pipe}
	out.(*os.File).SetReadDeadline(time.Now().Add(guardStart))
	if line, err := bufio.NewReader(io.LimitReader(out, 1024)).ReadString('\n'); err != nil || line != guardReady {
		cmd.Process.Kill()
		w.end()
		return nil, fmt.Errorf("%s is not ready (%q, %w)", strings.Join(command, " "), line, err)
	}
	return w, nil
}

// tell gives an order. What was written reaches the guard even if we die at once.
func (w *watcher) tell(o order) error {
	if w == nil {
		return nil
	}
	text, err := json.Marshal(o)
	if err == nil {
		_, err = w.pipe.Write(append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("tell the guard of the freeze: %w", err)
	}
	return nil
}

// end lets the guard go, which has nothing to do any more, and waits for it.
func (w *watcher) end() error {
	if w == nil {
		return nil
	}
	err := w.pipe.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	late := time.AfterFunc(guardAttend, func() { w.cmd.Process.Kill() })
	defer late.Stop()
	w.cmd.Wait() // how it ended does not matter: nothing is frozen
	return err
}

// leave makes the guard do its work. It outlives this call, and this process if need
// be; the goroutine only takes notice of its end.
func (w *watcher) leave() {
	if w == nil {
		return
	}
	w.pipe.Close()
	go w.cmd.Wait()
}
