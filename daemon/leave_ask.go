package daemon

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/service"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// answerPatience is how long a daemon may take to answer who asks it to end: it may be
// asking the program that is installed now.
const answerPatience = successorLimit + 15*time.Second

// NoDaemonError reports that no daemon listens in a folder.
type NoDaemonError struct{ Run string }

func (e *NoDaemonError) Error() string { return "no daemon runs at " + e.Run }

// Unwrap makes it a kind of something that is not there.
func (e *NoDaemonError) Unwrap() error { return fs.ErrNotExist }

// leaving is a request, and its answer: a file in the folder of the daemon's socket,
// where only its own user may write. It is gone when the daemon has ended.
type leaving struct {
	Stop     bool     `json:"stop"`  // it is not started again; jobs that wait do not count
	Nonce    string   `json:"nonce"` // of who asked
	Answered bool     `json:"answered"`
	WaitsFor []string `json:"waits_for,omitempty"`
	Refused  string   `json:"refused,omitempty"` // why it is not done
}

const maxLeaving = 1 << 20 // bytes

func leavingFile(run string) string { return filepath.Join(run, "leave.json") }

func (r leaving) then() string {
	if r.Stop {
		return "stop"
	}
	return "restart"
}

func readLeaving(run string) (r leaving, ok bool) {
	b, err := smallfile.Read(leavingFile(run), maxLeaving)
	return r, err == nil && json.Unmarshal(b, &r) == nil
}

// write puts a request or an answer in place.
func (r leaving) write(run string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return smallfile.Replace(leavingFile(run), b, 0o600, smallfile.Lightly)
}

// answer writes an answer, unless somebody asked anew or took the question back.
func (r leaving) answer(run string) error {
	if now, ok := readLeaving(run); !ok || now.Nonce != r.Nonce {
		return nil
	}
	r.Answered = true
	return r.write(run)
}

// AskRestart has the daemon of a run folder end as soon as it is idle, so that whoever started it
// starts the program that is installed by then, and returns what it waits for: nothing, if it has ended.
// The daemon refuses, and goes on, if the new program does not accept the configuration.
func AskRestart(ctx context.Context, run string) (waitsFor []string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience, fmt.Errorf("the daemon at %s does not answer: it may be of a version that cannot be asked", run))
	defer cancel()
	err = ask(ctx, run, false, func(r leaving) bool {
		waitsFor = r.WaitsFor
		return r.Answered
	})
	return waitsFor, err
}

// AskStop has the daemon of a run folder begin no more jobs, and end when those that run are over; it
// returns then. tell is called whenever it waits for something else. If ctx ends before, the
// daemon goes on.
func AskStop(ctx context.Context, run string, tell func(waitsFor []string)) error {
	var told []string
	err := ask(ctx, run, true, func(r leaving) bool {
		if r.Answered && !slices.Equal(told, r.WaitsFor) {
			told = r.WaitsFor
			tell(told)
		}
		return false
	})
	if err != nil {
		os.Remove(leavingFile(run))
	}
	return err
}

// ask leaves a request and looks at the answers until enough says that one is, or the daemon has ended.
func ask(ctx context.Context, run string, stop bool, enough func(leaving) bool) error {
	if err := reach(run); err != nil {
		return err
	}
	r := leaving{Stop: stop, Nonce: rand.Text()}
	if err := r.write(run); err != nil {
		return fmt.Errorf("ask the daemon at %s to end: %w", run, err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		switch now, ok := readLeaving(run); {
		case !ok || n%40 == 0 && errors.As(reach(run), new(*NoDaemonError)):
			return nil
		case now.Nonce != r.Nonce:
			return errors.New("somebody else asked the daemon to end meanwhile")
		case now.Refused != "":
			return errors.New(now.Refused)
		case enough(now):
			return nil
		}
	}
}

// reach tells whether a daemon listens in a folder.
func reach(run string) error {
	c, err := net.DialTimeout("unix", filepath.Join(run, service.SocketName), 5*time.Second)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return &NoDaemonError{run}
	}
	if err != nil {
		return fmt.Errorf("reach the daemon: %w", err)
	}
	return c.Close()
}
