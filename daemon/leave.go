package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/fusefs"
)

const (
	// leaveLook is how often is looked for who asked this daemon to end.
	leaveLook = time.Second
	// successorLimit is how long the program that is installed may take to say that it would start.
	successorLimit = 30 * time.Second
)

// leaver ends the daemon when it is asked to and nothing is in the way. The zero leaver was asked nothing.
type leaver struct {
	hold func()   // lets jobs begin again; nil: they may
	told []string // what was in the way when it was last told
}

// mayLeave tells whether the daemon is asked to end, and nothing is in its way: no job begins from then on.
func (d *Daemon) mayLeave(ctx context.Context, l *leaver) bool {
	run := d.conf().Run
	r, ok := readLeaving(run)
	if !ok || r.Refused != "" {
		l.release()
		return false
	}
	if l.hold == nil {
		l.hold = d.holdJobs()
	}
	ways := d.inTheWay(!r.Stop)
	if len(ways) == 0 {
		err := d.successor(ctx, r)
		if err == nil {
			d.log.Info("the daemon is idle, and ends as it was asked to", "then", r.then())
			return true
		}
		d.log.Error("the program that is installed now would not start, the old one goes on", "error", err)
		r.Refused = err.Error()
	}
	if !r.Stop || r.Refused != "" {
		l.release()
	}
	if r.Refused == "" && strings.Join(l.told, "\n") != strings.Join(ways, "\n") {
		d.log.Info("the daemon was asked to end when it is idle, and waits", "then", r.then(), "for", strings.Join(ways, "; "))
	}
	l.told = ways
	if r.Refused != "" || strings.Join(r.WaitsFor, "\n") != strings.Join(ways, "\n") {
		r.WaitsFor = ways
		if err := r.answer(run); err != nil {
			d.log.Warn("who asked the daemon to end hears nothing", "error", err)
		}
	}
	return false
}

// release lets jobs begin again.
func (l *leaver) release() {
	if l.hold != nil {
		l.hold()
		l.hold, l.told = nil, nil
	}
}

// successor asks the program that is installed now whether it would start.
func (d *Daemon) successor(ctx context.Context, r leaving) error {
	if r.Stop || d.o.Successor == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, successorLimit)
	defer cancel()
	return d.o.Successor(ctx)
}

// holdJobs keeps all jobs from beginning.
func (d *Daemon) holdJobs() (release func()) {
	var all []func()
	for _, h := range d.vaults.list() {
		all = append(all, d.jobs.Hold(h.known().Key(), "the daemon is to end when it is idle"))
	}
	return func() {
		for _, release := range all {
			release()
		}
	}
}

// inTheWay says what the end of the daemon would cut short; jobs that wait for their turn are
// only counted if asked for, and if their vault is open.
func (d *Daemon) inTheWay(waiting bool) (ways []string) {
	for _, h := range d.vaults.list() {
		k := h.known()
		for _, j := range d.jobs.Unfinished(k.Key()) {
			if j.State == api.JobRunning || waiting && h.isOpen() {
				ways = append(ways, fmt.Sprintf("%s %s", strings.TrimSpace(string(j.Kind)+" "+j.Machine), j.ID))
			}
		}
		switch lent, users := h.inUse(); {
		case lent != "":
			ways = append(ways, fmt.Sprintf("vault %s is lent to %s", k.Name, lent))
		case users > 0 && len(ways) == 0:
			ways = append(ways, fmt.Sprintf("vault %s is being read or written", k.Name))
		}
		if at := d.conf().Mount.At; at != "" && k.Name != "" {
			for _, user := range fusefs.Users(filepath.Join(at, k.Name)) {
				ways = append(ways, fmt.Sprintf("mount %s: %s", filepath.Join(at, k.Name), user))
			}
		}
	}
	return ways
}

// inUse tells who has the vault for itself, "" for nobody, and how many use it here.
func (h *heldVault) inUse() (lent string, users int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		users = h.current.users
	}
	return h.lent, users
}

// left says that the daemon has ended, or begun: nobody waits for its end any more.
func (d *Daemon) left() {
	if err := os.Remove(leavingFile(d.conf().Run)); err != nil && !os.IsNotExist(err) {
		d.log.Warn("who asked the daemon to end hears nothing", "error", err)
	}
}
