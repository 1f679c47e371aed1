package quiesce

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/quiesce/qga"
)

// guardPatience is how long a guard goes on thawing. The journal has what is
// left then.
const guardPatience = 15 * time.Minute

// RunGuard is the work of a guard: it reads orders from in, says on out that it is
// ready, and thaws when in ends while a guest is frozen. A process that is silent for longer than it
// said is continued, in case it was stopped, and then killed: nothing that it
// could still do is worth a guest that hangs. It returns an error where the guest could not be thawed.
//
// It takes the process for its own: signals that end processes are ignored, and
// the kernel is asked to kill others first when memory is short (which it
// grants to root alone).
func RunGuard(in io.Reader, out io.Writer) error {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE)
	os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0)
	g := guarding{parent: os.Getppid()}
	orders := make(chan order)
	go readOrders(in, orders) // ends with in, which is all that we wait for
	if _, err := io.WriteString(out, guardReady); err != nil {
		return err
	}
	return g.run(orders)
}

// readOrders closes orders when in ends, or says something that is no order.
func readOrders(in io.Reader, orders chan<- order) {
	defer close(orders)
	for d := json.NewDecoder(bufio.NewReader(in)); ; {
		var o order
		if d.Decode(&o) != nil {
			return
		}
		orders <- o
	}
}

// guarding is what a guard knows.
type guarding struct {
	parent int
	frozen *order      // nil: nothing is
	alarm  *time.Timer // nil: none is set
	woken  bool        // the parent was continued
}

func (g *guarding) run(orders <-chan order) error {
	for {
		var alarm <-chan time.Time
		if g.alarm != nil {
			alarm = g.alarm.C
		}
		select {
		case o, more := <-orders:
			if !more {
				return g.thaw()
			}
			g.obey(o)
		case <-alarm:
			g.wake()
		}
	}
}

func (g *guarding) obey(o order) {
	if g.alarm != nil {
		g.alarm.Stop()
	}
	g.alarm, g.woken = nil, false
	switch o.Do {
	case "freeze":
		g.frozen = &o
		if o.Limit > 0 {
			g.alarm = time.NewTimer(o.Limit)
		}
	case "thawed":
		g.frozen = nil
	}
}

// wake continues a parent that is stopped, and kills it when that did not help: its
// end closes the pipe and lets go of the agent's socket.
func (g *guarding) wake() {
	if os.Getppid() != g.parent {
		return // it is dead; the pipe says so as well
	}
	if g.woken {
		syscall.Kill(g.parent, syscall.SIGKILL)
		g.alarm = nil
		return
	}
	syscall.Kill(g.parent, syscall.SIGCONT)
	g.woken, g.alarm = true, time.NewTimer(g.frozen.Grace)
}

// thaw ends what the parent left. It does so whatever the journal says: a thaw too
// many does no harm. Holding the note meanwhile keeps the next backup waiting.
func (g *guarding) thaw() error {
	if g.frozen == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), guardPatience)
	defer cancel()
	note, noteErr := inherit(g.frozen.Journal)
	if _, err := thawAt(ctx, g.frozen.Reach); err != nil && !errors.Is(err, qga.ErrGone) {
		return errors.Join(err, noteErr)
	}
	switch {
	case errors.Is(noteErr, fs.ErrNotExist), errors.Is(noteErr, errHeld): // by whoever thaws leftovers
		return nil
	case noteErr != nil:
		return fmt.Errorf("the guest is thawed; its note %s: %w", g.frozen.Journal, noteErr)
	}
	return note.done()
}

// inherit takes the note of a process that died, which closed its pipe before it let
// go of the note, or after.
func inherit(path string) (*record, error) {
	const patience, pause = 300 * time.Millisecond, 2 * time.Millisecond
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		note, _, err := take(path)
		if !errors.Is(err, errHeld) || time.Now().After(end) {
			return note, err
		}
	}
}
