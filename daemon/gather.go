package daemon

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// pointsKnown is how long what is known of points counts that nobody said to have changed.
const pointsKnown = 10 * time.Minute

// pointMemory is what a schedule needs of the points of a vault.
type pointMemory struct {
	read   time.Time // when; zero: it is to be read again
	newest map[blockstore.MachineID]time.Time
	scans  map[blockstore.MachineID]bool
}

// lastJobs are the newest backups of machines, by vault and machine. Safe for concurrent use.
type lastJobs struct {
	mu sync.Mutex
	of map[[2]string]api.Job
}

// note takes a job into account; one that is dated later than now was asked for on another clock.
func (l *lastJobs) note(j api.Job, now time.Time) {
	if j.Kind != api.JobBackup {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[[2]string]api.Job{}
	}
	key := [2]string{j.Vault, j.Machine}
	if have, ok := l.of[key]; ok && have.ID > j.ID && !have.Queued.After(now) {
		return
	}
	j.Result, j.Log = nil, nil
	l.of[key] = j
}

func (l *lastJobs) get(vault, machine string) *api.Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	if j, ok := l.of[[2]string{vault, machine}]; ok {
		return &j
	}
	return nil
}

// jobChanged is told of each job that is asked for, begins or ends.
func (s *scheduler) jobChanged(j api.Job) {
	s.last.note(j, s.now())
	s.mu.Lock()
	if j.Over() {
		delete(s.ends, j.ID)
	}
	var at *heldVault
	for h, v := range s.of {
		if h.known().Key() == j.Vault {
			at = h
			if j.Over() {
				v.points.read = time.Time{}
			}
		}
	}
	s.mu.Unlock()
	if at != nil {
		s.poke(at)
	}
}

// gather finds what is known of a vault that is open.
func (s *scheduler) gather(ctx context.Context, h *heldVault, v *vaultSchedule, now time.Time) (*situation, error) {
	s.mu.Lock()
	sit := &situation{now: now, host: s.host, booted: s.booted, epoch: s.epoch}
	points := v.points
	s.mu.Unlock()
	if points.read.IsZero() || now.Sub(points.read).Abs() > pointsKnown {
		points = pointMemory{}
	}
	var machines []blockstore.Machine
	var held map[blockstore.MachineID]time.Time
	var doubt error
	err := h.use(ctx, service.ToNote, func(o *blockstore.Owner) (err error) {
		if sit.policies, err = o.Policies(ctx); err != nil && len(sit.policies) == 0 {
			return err
		}
		if machines, err = o.Machines(ctx); err != nil && len(machines) == 0 {
			return err
		}
		if held, err = o.MachineHolds(now); err != nil {
			return err
		}
		if points.read.IsZero() {
			if points, err = readPoints(ctx, o.Vault, now); err != nil {
				return err
			}
		}
		_, doubt = o.TrustedNow(ctx)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	v.points, v.clock = points, ""
	if errors.Is(doubt, blockstore.ErrClock) {
		v.clock = doubt.Error()
	}
	s.mu.Unlock()
	key := h.known()
	for _, m := range machines {
		sit.machines = append(sit.machines, machineFacts{machine: m, heldUntil: latest(held[m.ID], held[""]), newest: points.newest[m.ID], scans: points.scans[m.ID],
			last: s.last.get(key.Key(), m.Name)})
	}
	return sit, s.gatherTasks(sit, h, string(key.ID), key.Key())
}

// gatherTasks adds what is done for the vault as a whole.
func (s *scheduler) gatherTasks(sit *situation, h *heldVault, id, key string) error {
	waiting := map[string]bool{}
	for _, j := range s.jobs.Unfinished(key) {
		waiting[j.Kind] = true
	}
	sit.busy = waiting[api.JobBackup]
	conf := h.config()
	percent := sit.verifyPercent()
	var errs []error
	for _, t := range []taskFacts{
		{kind: api.JobSweep, schedule: conf.Sweep.Schedule(conf.Timezone), waits: waiting[api.JobSweep]},
		{kind: api.JobCheck, schedule: conf.Check.Schedule(conf.Timezone), waits: waiting[api.JobCheck]},
		{kind: taskVerify, schedule: conf.Verify.Schedule(conf.Timezone), waits: waiting[api.JobCheck], percent: percent},
		{kind: api.JobCatalogue, schedule: conf.Catalogue.Schedule(conf.Timezone), waits: waiting[api.JobCatalogue]},
		{kind: api.JobPrune, schedule: conf.Prune.Schedule(conf.Timezone), waits: waiting[api.JobPrune]},
	} {
		var err error
		t.last, err = s.memory.since(id, t.kind, sit.now)
		errs = append(errs, err)
		sit.tasks = append(sit.tasks, t)
	}
	var err error
	sit.pruned, err = s.memory.since(id, "prune-some", sit.now)
	return errors.Join(append(errs, err)...)
}

// readPoints finds the newest point of each machine.
func readPoints(ctx context.Context, v *blockstore.Vault, now time.Time) (m pointMemory, err error) {
	points, err := v.Points(ctx)
	if err != nil && len(points) == 0 {
		return m, err
	}
	newest := map[blockstore.MachineID]*blockstore.Point{}
	for _, p := range points {
		if q := newest[p.Machine]; q == nil || p.Compare(q) > 0 {
			newest[p.Machine] = p
		}
	}
	m = pointMemory{read: now, newest: map[blockstore.MachineID]time.Time{}, scans: map[blockstore.MachineID]bool{}}
	for id, p := range newest {
		m.newest[id] = p.Time
		m.scans[id] = slices.ContainsFunc(p.Disks, func(d blockstore.DiskInfo) bool { return d.Mode != "" && d.Format != "qcow2" })
	}
	return m, nil
}
