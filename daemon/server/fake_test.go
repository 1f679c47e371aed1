package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

// fake is an api.Operations that answers from memory and notes what it was asked. The vault
// holds web1, web2 and db1, with one point each, and a job on each.
type fake struct {
	mu    sync.Mutex
	calls []string
	fail  error // of everything

	events chan api.JobEvent // of Follow; nil: the job is over at once
	panics bool
	last   any // what the last change was given

	content fakeContent
	by      api.Caller
}

func (f *fake) note(ctx context.Context, name string, arg any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, name)
	f.last = arg
	f.by, _ = api.CallerOf(ctx)
	if f.panics {
		panic("as asked for")
	}
	return f.fail
}

// called tells whether anything was asked, and forgets it.
func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls
	f.calls = nil
	return c
}

var fakeNames = []string{"web1", "web2", "db1"}

func fakeMachine(name string) api.Machine {
	m := exampleMachine
	m.ID, m.Name = "id-"+name, name
	return m
}

func fakePoint(name string) api.Point {
	p := examplePoint
	p.ID, p.Machine, p.MachineID = "p-"+name, name, "id-"+name
	return p
}

func fakeJob(name string) api.Job {
	j := exampleJob
	j.ID, j.Machine, j.By = "j-"+name, name, "policy nightly"
	j.Result, j.Log = []byte(`{"a":1}`), []api.LogLine{{Time: exampleTime, Level: "info", Text: "reads /images/web1"}}
	return j
}

// each makes one of everything, for a machine by name or id, or for all.
func each[T any](machine string, of func(string) T) []T {
	var list []T
	for _, n := range fakeNames {
		if machine == "" || machine == n || machine == "id-"+n {
			list = append(list, of(n))
		}
	}
	return list
}

func (f *fake) Vaults(ctx context.Context) ([]api.VaultInfo, error) {
	return []api.VaultInfo{exampleVault}, f.note(ctx, "Vaults", nil)
}
func (f *fake) Machines(ctx context.Context, vault string) ([]api.Machine, error) {
	if vault != "main" {
		return nil, &api.Problem{Status: 404, Exit: 6, Detail: "vault " + vault + ": not found"}
	}
	return each("", fakeMachine), f.note(ctx, "Machines", vault)
}
func (f *fake) Search(ctx context.Context, q api.SearchQuery) (api.SearchPage, error) {
	return exampleSearch, f.note(ctx, "Search", q)
}
func (f *fake) Catalogues(ctx context.Context, vault, machine string) ([]api.Catalogue, error) {
	return []api.Catalogue{exampleCatalogue}, f.note(ctx, "Catalogues", []string{vault, machine})
}
func (f *fake) Points(ctx context.Context, vault, machine string) ([]api.Point, error) {
	return each(machine, fakePoint), f.note(ctx, "Points", machine)
}
func (f *fake) Policies(ctx context.Context, vault string) ([]api.Policy, error) {
	p := examplePolicy
	p.Machines = fakeNames
	return []api.Policy{p}, f.note(ctx, "Policies", vault)
}
func (f *fake) Trash(ctx context.Context, vault string) ([]api.Trashed, error) {
	return each("", func(n string) api.Trashed { return api.Trashed{Point: fakePoint(n), DropsOn: exampleTime} }), f.note(ctx, "Trash", vault)
}
func (f *fake) PlanPrune(ctx context.Context, vault string, o api.PruneOptions) ([]api.Prune, error) {
	return each("", func(n string) api.Prune {
		p := examplePrune
		p.Machine, p.MachineID = n, "id-"+n
		return p
	}), f.note(ctx, "PlanPrune", o)
}
func (f *fake) Start(ctx context.Context, r api.JobRequest) (api.Job, error) {
	return fakeJob("web1"), f.note(ctx, "Start", r)
}
func (f *fake) Follow(ctx context.Context, id string, fn func(api.JobEvent) error) error {
	if err := f.note(ctx, "Follow", id); err != nil {
		return err
	}
	j, err := f.find(id)
	if err == nil {
		err = fn(api.JobEvent{Job: j})
	}
	for f.events != nil && err == nil {
		select {
		case e, more := <-f.events:
			if !more {
				return nil
			}
			err = fn(e)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}
func (f *fake) Jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	return each(q.Machine, fakeJob), f.note(ctx, "Jobs", q)
}
func (f *fake) find(id string) (api.Job, error) {
	for _, n := range fakeNames {
		if id == "j-"+n {
			return fakeJob(n), nil
		}
	}
	return api.Job{}, &api.Problem{Status: 404, Exit: 6, Detail: "job " + id + ": not found"}
}
func (f *fake) Job(ctx context.Context, id string) (api.Job, error) {
	if err := f.note(ctx, "Job", id); err != nil {
		return api.Job{}, err
	}
	return f.find(id)
}
func (f *fake) CancelJob(ctx context.Context, id string) error { return f.note(ctx, "CancelJob", id) }
func (f *fake) RetryJob(ctx context.Context, id string) (api.Job, error) {
	return fakeJob("web1"), f.note(ctx, "RetryJob", id)
}
func (f *fake) ChangePoints(ctx context.Context, vault string, r api.PointsRequest) ([]api.PointChange, error) {
	return []api.PointChange{{Point: fakePoint("web1")}}, f.note(ctx, "ChangePoints", r)
}
func (f *fake) GiveUpPoint(ctx context.Context, vault string, p api.PointRef) (api.PointChange, error) {
	return api.PointChange{Point: fakePoint("web1")}, f.note(ctx, "GiveUpPoint", p)
}
func (f *fake) Protect(ctx context.Context, vault string, r api.ProtectRequest) (api.Protect, error) {
	return exampleProtect, f.note(ctx, "Protect", r)
}
func (f *fake) Unprotect(ctx context.Context, vault, machine string, r api.UnprotectRequest) (api.Unprotect, error) {
	return exampleUnprotect, f.note(ctx, "Unprotect", machine)
}
func (f *fake) RenameMachine(ctx context.Context, vault, machine, to string) (api.Machine, error) {
	return fakeMachine("web1"), f.note(ctx, "RenameMachine", machine+" "+to)
}
func (f *fake) HoldMachine(ctx context.Context, vault, machine string, until api.Time) (api.MachineHold, error) {
	return exampleHold, f.note(ctx, "HoldMachine", machine)
}
func (f *fake) ReleaseMachine(ctx context.Context, vault, machine string) (api.MachineHold, error) {
	return exampleHold, f.note(ctx, "ReleaseMachine", machine)
}
func (f *fake) SetPolicies(ctx context.Context, vault string, r api.PoliciesRequest) ([]api.PolicyChange, error) {
	return []api.PolicyChange{{Name: "nightly", Change: "added", Diff: []string{}}}, f.note(ctx, "SetPolicies", r)
}
func (f *fake) RemovePolicy(ctx context.Context, vault, name string) error {
	return f.note(ctx, "RemovePolicy", name)
}

func (f *fake) Status(ctx context.Context, q api.StatusQuery) (api.Status, error) {
	st := exampleStatus
	st.Reasons, st.AtRisk = []string{"db1: late"}, true
	st.VMs = []api.UnprotectedVM{{Name: "stray"}}
	st.Machines = each("", func(n string) api.MachineStatus {
		m := exampleStatus.Machines[0]
		m.Name, m.ID, m.AtRisk = n, "id-"+n, n == "db1"
		return m
	})
	if q.Machine != "" {
		st.Machines = slices.DeleteFunc(st.Machines, func(m api.MachineStatus) bool { return m.Name != q.Machine })
		if len(st.Machines) == 0 {
			return api.Status{}, &api.Problem{Status: 404, Exit: 6, Kind: "not-found", Detail: "machine " + q.Machine + ": not found", Hint: "did you mean db1?"}
		}
	}
	return st, f.note(ctx, "Status", q)
}

func (f *fake) Usage(ctx context.Context, vault string, q api.UsageQuery) (api.Usage, error) {
	u := exampleUsage
	u.Months = []api.MonthUsage{{Month: "2026-11", Instances: 3, Machines: each("", func(n string) api.MachineUsage {
		return api.MachineUsage{Machine: n, MachineID: "id-" + n, Instances: 1}
	})}}
	return u, f.note(ctx, "Usage", q)
}

func (f *fake) Ignore(ctx context.Context, r api.IgnoreRequest) ([]string, error) {
	return r.Names, f.note(ctx, "Ignore", r)
}

func (f *fake) GuestVolumes(ctx context.Context, at api.GuestAt) (api.GuestVolumes, error) {
	return exampleVolumes, f.note(ctx, "GuestVolumes", at)
}

func (f *fake) GuestFolder(ctx context.Context, at api.GuestAt, page api.FolderPage) (api.GuestFolder, error) {
	l := exampleFolder
	l.Folder.Path = at.Path
	return l, f.note(ctx, "GuestFolder", at)
}

func (f *fake) GuestFile(ctx context.Context, at api.GuestAt) (api.GuestFile, error) {
	return exampleFile, f.note(ctx, "GuestFile", at)
}

func (f *fake) GuestHistory(ctx context.Context, q api.HistoryQuery, progress func(done, total int64)) (api.FileHistory, error) {
	progress(1, 2)
	return api.FileHistory{Machine: q.Machine, Path: q.Path, Points: 2, Versions: []api.FileVersion{}, Warnings: []string{}}, f.note(ctx, "GuestHistory", q)
}

func (f *fake) GuestDiff(ctx context.Context, q api.DiffQuery, fn func(api.FileDiff) error, progress func(done int64)) (api.FilesDiff, error) {
	for _, path := range []string{"/etc/a", "/etc/b"} {
		if err := fn(api.FileDiff{Change: "added", Path: path, Details: []string{}}); err != nil {
			return api.FilesDiff{}, err
		}
	}
	return api.FilesDiff{Added: 2}, f.note(ctx, "GuestDiff", q)
}

func (f *fake) UnlockGuest(ctx context.Context, at api.GuestAt, keys api.GuestKeys) (api.GuestVolumes, error) {
	return exampleVolumes, f.note(ctx, "UnlockGuest", keys)
}

func (f *fake) LockGuest(ctx context.Context, at api.GuestAt) error {
	return f.note(ctx, "LockGuest", at)
}

// fakeContent is a file of a guest; broken: from there on it cannot be read.
type fakeContent struct {
	name   string
	text   string
	broken int64
}

func (f *fake) has() fakeContent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.content
}

// fails has everything fail from now on.
func (f *fake) fails(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// panic has everything panic, or nothing.
func (f *fake) panic(does bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.panics = does
}

// asked is what was asked last.
func (f *fake) asked() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// holds has all files, and archives, be that.
func (f *fake) holds(c fakeContent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = c
}

func (f *fake) GuestContent(ctx context.Context, at api.GuestAt, stream string, do func(context.Context, api.GuestContent) error) error {
	if err := f.note(ctx, "GuestContent", at); err != nil {
		return err
	}
	file, content := exampleFile, f.has()
	if content.name != "" {
		file.Name, file.Path = content.name, "/etc/"+content.name
	}
	return do(ctx, api.GuestContent{Point: "p-web1", File: file, Size: int64(len(content.text)), Tag: "p-web1-1",
		ReaderAt: &fakeDisk{Reader: bytes.NewReader([]byte(content.text)), broken: content.broken}})
}

func (f *fake) GuestArchive(ctx context.Context, at api.GuestAt, format string, do func(context.Context, api.GuestArchive) error) error {
	if err := f.note(ctx, "GuestArchive", format); err != nil {
		return err
	}
	content := f.has()
	return do(ctx, api.GuestArchive{Point: "p-web1", Folder: exampleFolder.Folder, Format: format,
		Reader: io.NewSectionReader(&fakeDisk{Reader: bytes.NewReader([]byte(content.text)), broken: content.broken}, 0, int64(len(content.text))),
		Failed: func() int64 { return 2 }})
}

// fakeDisk is a disk in memory.
type fakeDisk struct {
	*bytes.Reader
	broken int64 // from here on it cannot be read; 0: all can
}

func (d *fakeDisk) ReadAt(b []byte, at int64) (int, error) {
	if d.broken > 0 && at+int64(len(b)) > d.broken {
		return 0, errors.New("the block is damaged")
	}
	return d.Reader.ReadAt(b, at)
}
func (d *fakeDisk) Close() error { return nil }

var diskBytes = bytes.Repeat([]byte("0123456789abcdef"), 256<<10)

// site is a server with its fake, its grants and its logs, in a folder of the test.
type site struct {
	*Server
	fake    *fake
	store   *access.Store
	audit   *access.Log
	dir     string
	secrets map[string]string // by role and globs
	log     *bytes.Buffer     // locked by the handler
}

func (r renamed) Points(context.Context, string, string) ([]api.Point, error) {
	return []api.Point{r.point}, nil
}

func (r twins) Machines(context.Context, string) ([]api.Machine, error) {
	return append(each("", fakeMachine), r.machine), nil
}

func (r ownJob) Job(context.Context, string) (api.Job, error) { return r.job, nil }
