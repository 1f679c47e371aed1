package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/policy"
	"github.com/holdfast-backup/holdfast/daemon/status"
)

var _ api.Watching = (*Service)(nil)

const (
	// vaultPatience is the usual [Options.Patience].
	vaultPatience = 30 * time.Second
)

// Status tells how machines and vaults are, and remembers it in the state folder. That it cannot is a warning.
func (s *Service) Status(ctx context.Context, q api.StatusQuery) (api.Status, error) {
	only, known, err := s.known(ctx, q.Vault)
	if err != nil {
		return api.Status{}, err
	}
	f := status.Facts{Now: time.Now(), Host: hostName(), Vaults: make([]status.VaultFacts, len(known)), Ignored: s.ignored(), Before: s.before()}
	machines := make([][]blockstore.Machine, len(known))
	for i, k := range known {
		f.Vaults[i], machines[i] = s.patiently(ctx, k, f.Now)
		if k.Name != "" {
			f.Vaults[i].Vault.Name = k.Name
		}
		unowned(&f.Vaults[i], k.Unowned)
		if err := s.jobs.Trouble(); err != nil && f.Vaults[i].Unowned == "" {
			f.Vaults[i].Unowned = fmt.Sprintf("no job begins, since it cannot be kept: %v", err)
		}
	}
	distinguish(f.Vaults)
	if err := ctx.Err(); err != nil {
		return api.Status{}, err
	}
	if !q.NoHost {
		s.askHost(ctx, &f, machines)
	}
	s.addJobs(&f)
	s.addGrowth(&f)
	all := status.Compose(f)
	if !q.NoHost {
		s.keep(&all, f.Before)
	}
	if only.Key() != "" {
		all = status.InVault(all, string(only.ID), only.Path)
	}
	if q.Machine == "" {
		if text := s.notKept(); text != "" {
			all.Warnings = append(all.Warnings, text)
		}
		return all, nil
	}
	one, ok := status.Only(all, q.Machine)
	if !ok {
		return one, Hinted(fmt.Errorf("machine %s: %w", q.Machine, blockstore.ErrNotFound), "`holdfast status` lists all machines")
	}
	return one, nil
}

// unowned notes why nothing can be written into a vault. A command that has it for a while is none of that; this
// process is, whose calls into a file system that hung still hold the vault.
func unowned(f *status.VaultFacts, why error) {
	var busy *blockstore.BusyError
	switch {
	case why == nil || f.Problem != "":
	case errors.As(why, &busy) && !busy.OtherHost && !busy.Lost && busy.Owner.PID != os.Getpid():
		f.Waits = why.Error()
	default:
		f.Unowned = why.Error()
	}
}

// distinguish names vaults by their paths that are called alike.
func distinguish(all []status.VaultFacts) {
	count := map[string]int{}
	for i := range all {
		count[all[i].Vault.Name]++
	}
	for i := range all {
		if v := &all[i].Vault; count[v.Name] > 1 {
			v.Name = v.Path
		}
	}
}

// known are the vaults that a query is about: all, so that no VM is taken for unprotected which another one protects,
// and the one that is asked for; none of that: every one.
func (s *Service) known(ctx context.Context, vault string) (only Known, all []Known, err error) {
	all, err = s.vaults.List(ctx)
	if vault == "" || err != nil {
		return only, all, err
	}
	only, err = s.vaults.Find(ctx, vault)
	if !slices.ContainsFunc(all, func(k Known) bool { return k.Key() == only.Key() }) {
		all = append(all, only)
	}
	return only, all, err
}

// patiently reads the facts of a vault. One that does not answer in time, or cannot be read, has a problem
// instead; the goroutine that waits for it ends when it answers.
func (s *Service) patiently(ctx context.Context, k Known, now time.Time) (status.VaultFacts, []blockstore.Machine) {
	type answer struct {
		facts    status.VaultFacts
		machines []blockstore.Machine
		err      error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(ctx, s.o.Patience)
	defer cancel()
	go func() {
		var a answer
		a.err = s.vaults.Read(ctx, k.Key(), func(v *blockstore.Vault) (err error) {
			a.facts, a.machines, err = s.vaultFacts(ctx, v, now)
			return err
		})
		answers <- a
	}()
	problem := ""
	select {
	case a := <-answers:
		if a.err == nil {
			return a.facts, a.machines
		}
		problem = a.err.Error()
		if errors.Is(a.err, context.DeadlineExceeded) {
			problem = fmt.Sprintf("it did not answer for %v", s.o.Patience)
		}
	case <-ctx.Done():
		problem = fmt.Sprintf("it did not answer for %v", s.o.Patience)
	}
	v := api.Vault{ID: string(k.ID), Name: k.Name, Path: k.Path}
	if v.Name == "" {
		v.Name = filepath.Base(k.Path)
	}
	return status.VaultFacts{Vault: v, Problem: problem}, nil
}

// vaultFacts are what a vault tells. Where single records cannot be read, the rest is told, and that.
func (s *Service) vaultFacts(ctx context.Context, v *blockstore.Vault, now time.Time) (status.VaultFacts, []blockstore.Machine, error) {
	g := &gathering{Service: s, v: v, now: now, f: status.VaultFacts{Vault: DescribeVault(v.Info())}}
	machines, err := v.Machines(ctx)
	g.note(err)
	if err := g.survey(ctx); err != nil {
		return g.f, nil, err
	}
	policies, err := v.Policies(ctx)
	g.note(err)
	g.f.Policies = len(policies)
	g.policies(policies)
	g.held, err = v.MachineHolds(now)
	g.note(err)
	for _, m := range machines {
		g.machine(m, policies)
	}
	return g.f, machines, ctx.Err()
}

// gathering collects the facts of one vault.
type gathering struct {
	*Service
	v   *blockstore.Vault
	now time.Time
	f   status.VaultFacts

	of     map[blockstore.MachineID][]status.Point
	held   map[blockstore.MachineID]time.Time // until when; "": all
	next   map[string]*api.Policy             // by name
	tables map[string]*policy.Timetable
}

// note remembers what could not be read, the first of it in words.
func (g *gathering) note(err error) {
	if err != nil && g.f.Unread == "" {
		g.f.Unread = fmt.Sprintf("not everything can be read: %v", err)
	}
}

// survey looks at the points, and at what lies beside them.
func (g *gathering) survey(ctx context.Context) error {
	found, err := g.v.Survey(ctx, g.now)
	if found == nil {
		return err
	}
	g.note(err)
	g.points(found)
	g.health(found.Health)
	held, err := g.v.Held(g.now)
	g.note(err)
	if held != nil {
		g.f.HeldUntil = held.Until
	}
	return ctx.Err()
}

func (g *gathering) points(found *blockstore.Survey) {
	listed, trash, states, harmed := found.Listed, found.Trash, found.States, found.Harmed
	g.f.Trash, g.f.Harmed = len(trash), len(harmed)
	g.of = map[blockstore.MachineID][]status.Point{}
	all := slices.Concat(listed, trash)
	count := map[blockstore.MachineID]int{}
	for _, p := range all {
		count[p.Machine]++
	}
	for m, n := range count {
		g.of[m] = make([]status.Point, 0, n)
	}
	for i, p := range all {
		q := pointFacts(p)
		q.Damaged = harmed[p.ID]
		q.Deleted = states[i].Deleted
		if at := states[i].Verified; at.After(g.f.Check) {
			g.f.Check = at
		}
		g.of[p.Machine] = append(g.of[p.Machine], q)
	}
	order := map[string]*blockstore.Point{}
	for _, p := range trash { // few: only machines that have some are sorted
		order[string(p.ID)] = p
	}
	for m, points := range g.of {
		if slices.ContainsFunc(points, func(p status.Point) bool { return order[p.ID] != nil }) {
			slices.SortStableFunc(points, func(a, b status.Point) int { return a.Committed.Compare(b.Committed) })
			g.of[m] = points
		}
	}
}

// health takes over what lies beside the points.
func (g *gathering) health(h *blockstore.Health) {
	f := &g.f
	f.Damaged, f.Unique, f.Packs, f.Free, f.Size, f.Floor, f.Sweep = h.Damaged, h.Unique, h.Stored, h.Free, h.Size, h.Floor, h.Swept
	if h.Clock != nil {
		f.Clock = h.Clock.Error()
	}
}

// policies finds when each runs next.
func (g *gathering) policies(policies []blockstore.Policy) {
	g.next, g.tables = map[string]*api.Policy{}, map[string]*policy.Timetable{}
	for _, p := range policies {
		a := &api.Policy{Name: p.Name, RPO: p.RPO, Consistency: string(p.Consistency)}
		t, err := Timetable(p, g.o.Host)
		g.note(err)
		if err == nil && p.Schedule != "" {
			a.NextRun, g.tables[p.Name] = maybe(t.Next(g.now)), &t
		}
		g.next[p.Name] = a
	}
}

// machine adds a machine. One that has neither points nor protection is of no interest.
func (g *gathering) machine(m blockstore.Machine, policies []blockstore.Policy) {
	points := g.of[m.ID]
	if len(points) == 0 && m.Protected == nil {
		return
	}
	f := status.MachineFacts{Machine: describeMachine(m), Points: points}
	if until := slices.MaxFunc([]time.Time{g.held[""], g.held[m.ID]}, time.Time.Compare); !until.IsZero() {
		f.Machine.HeldUntil = maybe(until)
	}
	p, ok, err := PolicyFor(m, policies)
	var two *policy.AmbiguousError
	switch {
	case errors.As(err, &two):
		f.Ambiguous = two.Claims()
	case err != nil:
		g.note(err)
	case ok:
		f.Policy = g.next[p.Name]
		if t := g.tables[p.Name]; t != nil && len(points) > 0 {
			f.Due = t.Next(points[len(points)-1].Time)
		}
	}
	g.f.Machines = append(g.f.Machines, f)
}

func pointFacts(p *blockstore.Point) status.Point {
	q := status.Point{Committed: p.Committed, First: p.Parent == "", Reason: p.Reason, Sizes: describeSizes(p.Sizes)}
	q.ID, q.Time, q.Reached, q.Asked = string(p.ID), p.Time, consistencyOf(p.Reached), consistencyOf(p.Asked)
	var few [4]status.DiskMode
	disks := few[:0]
	q.Disks = make([]policy.Disk, 0, len(p.Disks))
	for _, d := range p.Disks {
		disks = append(disks, status.DiskMode{Name: d.Name, Mode: string(d.Mode), Reason: d.Reason})
		q.Disks = append(q.Disks, diskFacts(d))
	}
	q.Mode, q.ModeReason = status.Modes(disks)
	return q
}

// addJobs adds what became of the last backup of each machine, and of the last sweeps and checks.
func (s *Service) addJobs(f *status.Facts) {
	type key struct{ kind, vault, machine string }
	last := map[key]*api.Job{}
	list := s.history()
	for i := range list {
		j := &list[i]
		k := key{j.Kind, j.Vault, j.Machine}
		if j.Over() && j.State != api.JobCancelled && last[k] == nil {
			last[k] = j
		}
	}
	find := func(kind string, v api.Vault, machines ...string) *api.Job {
		for _, vault := range []string{v.ID, v.Path, v.Name} {
			for _, m := range machines {
				if j := last[key{kind, vault, m}]; j != nil {
					return j
				}
			}
		}
		return nil
	}
	for i := range f.Vaults {
		v := &f.Vaults[i]
		for j := range v.Machines {
			m := &v.Machines[j]
			m.Job = find(api.JobBackup, v.Vault, m.Machine.Name, m.Machine.ID)
		}
		ended(find(api.JobSweep, v.Vault, ""), &v.Sweep, &v.SweepProblem)
		ended(find(api.JobCheck, v.Vault, ""), &v.Check, &v.CheckProblem)
	}
}

// ended says when a job that went well ended, or else why it did not.
func ended(j *api.Job, at *time.Time, problem *string) {
	switch {
	case j == nil:
	case j.Error != nil:
		*problem = j.Error.Detail
	case j.Ended != nil && j.Ended.After(*at):
		*at = j.Ended.Time
	}
}

// history are the jobs that are known, the newest first: of this process or, where it has none, of the daemon that
// uses the state folder.
func (s *Service) history() []api.Job {
	q := api.JobQuery{Limit: 100_000}
	list := s.jobs.Jobs(q)
	if len(list) == 0 && s.o.StateDir != "" {
		list, _, _ = jobs.Look(filepath.Join(s.o.StateDir, "jobs"), q) // none is no harm
	}
	return list
}
