package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Leftover is something of ours in QEMU or in the scratch folder that no run needs.
type Leftover struct {
	Kind string // export, server, job, node, bitmap, folder, pause
	Name string
	Node string // of a bitmap: the node of the disk that it is on
}

func (l Leftover) String() string {
	if l.Node != "" {
		return fmt.Sprintf("%s %s on %s", l.Kind, l.Name, l.Node)
	}
	return l.Kind + " " + l.Name
}

// CleanRequest says what is left after cleaning.
type CleanRequest struct {
	Vault   string // whose bitmaps are removed; empty: none are touched
	Keep    string // bitmap that stays: that of the vault's latest point of the machine; empty: none
	Scratch ScratchOptions
}

const (
	releaseTimeout = 2 * time.Minute  // where the caller's context has no earlier deadline
	stepTimeout    = 30 * time.Second // of one step of cleaning: one that hangs must not keep the others from being tried
)

// Leftovers lists what Clean would remove. While a run works on the machine, that is what
// the run has made. It changes nothing.
func (m *Machine) Leftovers(ctx context.Context, q CleanRequest) ([]Leftover, error) {
	vm, err := m.VM(ctx)
	if err != nil {
		return nil, err
	}
	path := q.Scratch.folder() + "/" + runKey(vm)
	sw := &sweeping{m: m, vault: q.Vault, keep: q.Keep, folder: path, dry: true}
	if err := sw.all(ctx); err != nil {
		return nil, fmt.Errorf("look for leftovers: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		sw.note("folder", path)
	}
	return sw.found, nil
}

// Clean removes what runs that died left behind, and returns what it removed. A guest that
// stopped because of it is resumed. What others made, bitmaps of other vaults among it,
// is not touched. Errors: ErrBusy while a run works on the machine.
func (m *Machine) Clean(ctx context.Context, q CleanRequest) (found []Leftover, err error) {
	r, err := m.begin(ctx, q.Scratch)
	if err != nil {
		return nil, fmt.Errorf("clean up: %w", err)
	}
	defer func() { err = errors.Join(err, r.end()) }()
	sweepFolder(q.Scratch.folder())
	found, err = m.sweep(ctx, &sweeping{vault: q.Vault, keep: q.Keep, folder: r.path})
	if err != nil {
		return found, fmt.Errorf("clean up: %w", err)
	}
	return found, nil
}

// sweep removes everything of ours, and the run's folder.
func (m *Machine) sweep(ctx context.Context, sw *sweeping) ([]Leftover, error) {
	sw.m = m
	err := sw.all(ctx)
	if gone(err) {
		err = nil // and with QEMU, all that was in it
	}
	if err == nil {
		if _, missing := os.Lstat(sw.folder); missing == nil {
			sw.note("folder", sw.folder)
			err = removeRunFolder(sw.folder)
		}
	}
	return sw.found, err
}

// Release ends reading and removes all that the snapshot made, whatever happens. committed
// says whether the point is in the vault: then its bitmap stays, else the parent's, which
// gets back what changed meanwhile. That QEMU is gone is no error. ctx should not be
// the run's, which may have ended. It takes two minutes at most.
func (s *Snapshot) Release(ctx context.Context, committed bool) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	s.stop()
	s.guarded.Wait()
	var errs []error
	for _, d := range s.Disks {
		if d.Export != nil {
			d.fail(errors.New("snapshot was released"))
			d.Close() // a connection that QEMU broke is of no interest any more
		}
	}
	keep := s.request.Parent
	if committed {
		keep = s.request.Point
	}
	sw := s.sweeping(keep)
	_, err := s.m.sweep(ctx, sw)
	errs = append(errs, err)
	if s.running {
		if _, err := s.m.resume(ctx, true); err != nil && !gone(err) {
			errs = append(errs, err)
		}
	}
	if err := s.run.removeFolder(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, s.run.end())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("release snapshot: %w", err)
	}
	return nil
}

func (s *Snapshot) sweeping(keep string) *sweeping {
	return &sweeping{vault: s.vault, keep: keep, folder: s.run.path}
}

// sweeping takes everything of ours out of QEMU, or (dry) lists it.
type sweeping struct {
	m           *Machine
	vault, keep string // as in CleanRequest
	folder      string // the run's
	dry         bool
	found       []Leftover
}

func (sw *sweeping) note(kind, name string) {
	sw.found = append(sw.found, Leftover{Kind: kind, Name: name})
}

// all goes from what uses to what is used. A step that fails does not keep the
// others from being tried.
func (sw *sweeping) all(ctx context.Context) error {
	var errs []error
	for _, step := range []func(context.Context) error{sw.exports, sw.jobs, sw.nodes, sw.bitmaps} {
		err := sw.within(ctx, step)
		if gone(err) {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (sw *sweeping) within(ctx context.Context, step func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return step(ctx)
}

// exports removes ours, and the NBD server where it is ours.
func (sw *sweeping) exports(ctx context.Context) error {
	server := sw.serverIsOurs()
	tried := map[string]bool{}
	for {
		var list []struct {
			ID   string `json:"id"`
			Type string `json:"type"`
		}
		if err := sw.m.do(ctx, "query-block-exports", nil, &list); err != nil {
			return err
		}
		left := 0
		for _, e := range list {
			if !ours(e.ID) {
				continue
			}
			left++
			server = server || e.Type == "nbd"
			if tried[e.ID] {
				continue
			}
			tried[e.ID] = true
			sw.note("export", e.ID)
			if sw.dry {
				continue
			}
			if err := sw.m.do(ctx, "block-export-del", object{"id": e.ID, "mode": "hard"}, nil); gone(err) {
				return err
			}
		}
		if left == 0 || sw.dry {
			break
		}
		if err := pause(ctx, shortWait); err != nil {
			return fmt.Errorf("exports do not end: %w", err)
		}
	}
	if !server {
		return nil
	}
	sw.note("server", sw.folder+"/nbd")
	if sw.dry {
		return nil
	}
	if err := sw.m.do(ctx, "nbd-server-stop", nil, nil); err != nil && !refused(err, "not running") {
		return err
	}
	return nil
}

// jobs ends ours. A guest that stopped for an I/O error meanwhile is resumed.
func (sw *sweeping) jobs(ctx context.Context) error {
	if sw.dry {
		jobs, err := sw.m.jobs(ctx)
		for id := range jobs {
			sw.note("job", id)
		}
		return err
	}
	had := false
	if err := sw.m.endJobs(ctx, func(id string) { had = true; sw.note("job", id) }); err != nil {
		return err
	}
	resumed, err := sw.m.resume(ctx, had)
	if resumed {
		sw.note("pause", "for an I/O error of the guest, which was resumed")
	}
	return err
}

// endJobs cancels ours and waits until they are gone.
func (m *Machine) endJobs(ctx context.Context, tell func(id string)) error {
	tried := map[string]bool{}
	for {
		jobs, err := m.jobs(ctx)
		if err != nil {
			return err
		}
		if len(jobs) == 0 {
			return nil
		}
		for id, j := range jobs {
			command := "job-cancel"
			if j.Status == "concluded" {
				command = "job-dismiss"
			} else if tried[id] {
				continue
			}
			if !tried[id] {
				tell(id)
			}
			tried[id] = true
			if err := m.do(ctx, command, object{"id": id}, nil); gone(err) {
				return err
			}
		}
		if err := pause(ctx, shortWait); err != nil {
			return fmt.Errorf("jobs do not end: %w", err)
		}
	}
}

// nodes removes ours. Those that others rest on go later, and filters go with their jobs.
func (sw *sweeping) nodes(ctx context.Context) error {
	noted := map[string]bool{}
	for {
		list, err := sw.m.nodes(ctx)
		if err != nil {
			return err
		}
		var last error
		for _, n := range list {
			if !ours(n.Name) || strings.HasPrefix(n.Name, "hf-flt-") {
				continue
			}
			if !noted[n.Name] {
				noted[n.Name] = true
				sw.note("node", n.Name)
			}
			if sw.dry {
				continue
			}
			if last = sw.m.do(ctx, "blockdev-del", object{"node-name": n.Name}, nil); gone(last) {
				return last
			}
			if last == nil {
				last = errAgain
			}
		}
		if last == nil || sw.dry {
			return nil
		}
		if err := pause(ctx, shortWait); err != nil {
			return fmt.Errorf("nodes of ours cannot be removed: %w: %w", err, last)
		}
	}
}

var errAgain = errors.New("removed, look again")
