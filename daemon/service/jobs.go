package service

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// How says for whom a job is started, and how urgent it is, where that is not a person's word of now.
type How struct {
	By       string // as [api.Job]
	Policy   string // whose demands a backup fulfils; "": those of the machine's record
	Due      time.Time
	Attempt  int
	RetryOf  string
	Low      bool          // it gives way to other jobs
	Priority int           // of jobs that wait, the higher one begins first
	Limit    time.Duration // 0: none
}

// errCancelled is wrapped by the cause of the end of a job that somebody cancelled.
var errCancelled = errors.New("was cancelled")

// body does a job of one kind.
type body func(ctx context.Context, r *jobs.Report, q api.JobRequest) (any, error)

// Start queues a job for whoever ctx names.
func (s *Service) Start(ctx context.Context, q api.JobRequest) (api.Job, error) {
	return s.StartAs(ctx, q, How{By: callerName(ctx)})
}

// StartAs queues a job.
func (s *Service) StartAs(ctx context.Context, q api.JobRequest, h How) (j api.Job, err error) {
	defer func() {
		if err != nil {
			q.Handed().Close()
		}
	}()
	known, err := s.vaults.Find(ctx, q.Vault)
	if err != nil {
		return api.Job{}, err
	}
	q.Vault = known.Key()
	do, alone, err := s.bodyOf(q, h)
	if err == nil {
		err = checkHanded(&q)
	}
	if err == nil {
		err = s.allow(ctx, q)
	}
	if err != nil {
		return api.Job{}, err
	}
	if q.Backup != nil && q.Backup.MaxDuration > 0 {
		if limit := time.Duration(min(q.Backup.MaxDuration, 1<<30)) * time.Second; h.Limit == 0 || limit < h.Limit {
			h.Limit = limit
		}
	}
	patience := patienceOf(q.MaxWait)
	q.MaxWait = nil // who starts it again does not mean this
	for i := range alone {
		alone[i] = q.Vault + " " + alone[i]
	}
	kept := q // what is handed over is the body's alone
	kept.HandOver(nil)
	name := s.called(ctx, q)
	return s.jobs.Start(jobs.Spec{
		Request: kept, Machine: name, Over: q.Handed().Close, By: h.By, Policy: h.Policy, Due: h.Due, Attempt: h.Attempt, RetryOf: h.RetryOf, Low: h.Low, Priority: h.Priority, Limit: h.Limit, Alone: alone, Patience: patience,
		Do: func(ctx context.Context, r *jobs.Report) (any, error) {
			result, err := do(ctx, r, q)
			return result, calledBy(err, q.Machine, name)
		},
	})
}

// called is what a machine that a request names by its id is called, so that a job tells it to who reads it, and to
// grants, which go by names; "" where that is not known.
func (s *Service) called(ctx context.Context, q api.JobRequest) (name string) {
	if !machineID.MatchString(q.Machine) {
		return ""
	}
	s.vaults.Read(ctx, q.Vault, func(v *blockstore.Vault) error { // where it cannot be read, the job says so
		m, err := v.Machine(ctx, q.Machine)
		name = m.Name
		return err
	})
	return name
}

// calledError tells an error in which a machine is called by its name, not its id.
type calledError struct {
	error
	id, name string
}

func (e *calledError) Error() string { return strings.ReplaceAll(e.error.Error(), e.id, e.name) }
func (e *calledError) Unwrap() error { return e.error }

// calledBy has the error of a job call the machine by its name that the request named by its id.
func calledBy(err error, id, name string) error {
	if err == nil || name == "" || id == name {
		return err
	}
	var hinted *HintError
	if errors.As(err, &hinted) {
		return Hinted(&calledError{err, id, name}, strings.ReplaceAll(hinted.Hint, id, name))
	}
	return &calledError{err, id, name}
}

var machineID = regexp.MustCompile(`^[0-9a-f]{16}$`)

// patienceOf is how long a job may wait for its turn, as its table wants it.
func patienceOf(seconds *int64) time.Duration {
	switch {
	case seconds == nil:
		return 0
	case *seconds <= 0:
		return -1
	}
	return time.Duration(min(*seconds, 1<<30)) * time.Second
}

// bodyOf returns what does a job, and of what only one may run at a time. A request that makes no sense
// is an *Invalid.
func (s *Service) bodyOf(q api.JobRequest, h How) (do body, alone []string, err error) {
	options := 0
	for _, given := range []bool{q.Backup != nil, q.Prune != nil, q.Sweep != nil, q.Check != nil, q.EmptyTrash != nil, q.Restore != nil, q.Catalogue != nil} {
		if given {
			options++
		}
	}
	of := map[string]bool{api.JobBackup: q.Backup != nil, api.JobPrune: q.Prune != nil, api.JobSweep: q.Sweep != nil,
		api.JobCheck: q.Check != nil, api.JobEmptyTrash: q.EmptyTrash != nil, api.JobRestore: q.Restore != nil, api.JobCatalogue: q.Catalogue != nil}
	own, known := of[q.Kind]
	switch {
	case !known:
		return nil, nil, invalidf("there are no jobs of kind %.40q", q.Kind)
	case options > 1 || options == 1 && !own:
		return nil, nil, invalidf("a job of kind %s takes no options of another kind", q.Kind)
	}
	if q.Machine != "" {
		if err := blockstore.CheckMachineName(q.Machine); err != nil {
			return nil, nil, &Invalid{err.Error()}
		}
	}
	switch q.Kind {
	case api.JobBackup:
		if q.Machine == "" {
			return nil, nil, invalidf("which machine is to be backed up is not said")
		}
		return s.backupBody(h), []string{"machine " + q.Machine}, nil
	case api.JobPrune:
		return s.prune, []string{"prune"}, nil
	case api.JobSweep:
		if q.Sweep != nil && q.Sweep.DryRun {
			return s.sweep, nil, nil
		}
		return s.sweep, []string{"sweep"}, nil
	case api.JobEmptyTrash:
		return s.emptyTrash, []string{"sweep"}, nil
	case api.JobCheck:
		return s.check, []string{"check"}, checkRequest(q)
	case api.JobCatalogue:
		return s.catalogue, []string{"catalogue"}, catalogueRequest(q)
	}
	return s.restore, nil, restoreRequest(q)
}

// allow refuses paths that a caller names who has not the rights of this process.
func (s *Service) allow(ctx context.Context, q api.JobRequest) error {
	c, ok := api.CallerOf(ctx)
	if !ok || c.Trusted {
		return nil
	}
	if b := q.Backup; b != nil && (len(b.Disks) > 0 && !q.TakesHanded() || b.Scratch != api.Scratch{}) {
		return &NotAllowed{fmt.Sprintf("%s may not name files of this host", c.Name),
			"back up a machine that is protected, hand the images over as open files, as `holdfast backup --disk` does, or ask as root"}
	}
	if r := q.Restore; r != nil && !s.registered(r.Folder) {
		return &NotAllowed{fmt.Sprintf("%s may not restore to %s", c.Name, r.Folder),
			"name a folder below one of restore-folders of the daemon's configuration, or restore it yourself from the mount"}
	}
	return nil
}

// Follow tells how a job stands until it is over.
func (s *Service) Follow(ctx context.Context, id string, fn func(api.JobEvent) error) error {
	return s.jobs.Follow(ctx, id, fn)
}

// Jobs returns jobs, the newest first. Their vault may be named as any may.
func (s *Service) Jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	if q.Vault != "" {
		known, err := s.vaults.Find(ctx, q.Vault)
		if err != nil {
			return nil, err
		}
		q.Vault = known.Key()
	}
	return s.jobs.Jobs(q), nil
}

// Job returns one job with its log.
func (s *Service) Job(_ context.Context, id string) (api.Job, error) { return s.jobs.Job(id) }

// CancelJob asks a job to end.
func (s *Service) CancelJob(ctx context.Context, id string) error {
	why := context.Canceled
	if c, ok := api.CallerOf(ctx); ok {
		why = fmt.Errorf("the job %w by %s", errCancelled, c.Name)
	}
	return s.jobs.Cancel(id, why)
}

// RetryJob starts a job again that did not end well.
func (s *Service) RetryJob(ctx context.Context, id string) (api.Job, error) {
	old, err := s.jobs.Job(id)
	if err != nil {
		return api.Job{}, err
	}
	switch old.State {
	case api.JobFailed, api.JobCancelled, api.JobInterrupted:
	default:
		return api.Job{}, invalidf("job %s is %s: one that failed, was cancelled or interrupted is started again", id, old.State)
	}
	q, err := s.jobs.Request(id)
	if err != nil {
		return api.Job{}, err
	}
	if q.TakesHanded() {
		return api.Job{}, Hinted(invalidf("job %s read images that %s had opened, and they are closed", id, old.By), "whoever may read them starts it again with `holdfast backup`")
	}
	if now := s.called(ctx, q); now != "" && now != old.Machine { // whoever may retry the job may nothing with that
		return api.Job{}, invalidf("the machine of job %s is not called %s any more: start another job", id, old.Machine)
	}
	return s.StartAs(ctx, q, How{By: callerName(ctx), Policy: old.Policy, Attempt: old.Attempt + 1, RetryOf: id, Limit: s.limitOf(ctx, q.Vault, old.Policy)})
}

// limitOf is how long a job of a policy may take, by what the policy says now; 0: as long as it does. Where that
// cannot be read the job fails, which needs the policy itself.
func (s *Service) limitOf(ctx context.Context, vault, policy string) (limit time.Duration) {
	if policy == "" {
		return 0
	}
	s.vaults.Read(ctx, vault, func(v *blockstore.Vault) error {
		p, err := v.Policy(ctx, policy)
		limit = time.Duration(p.Limit) * time.Second
		return err
	})
	return limit
}

// callerName is who asks, as a job shows it.
func callerName(ctx context.Context) string {
	if c, ok := api.CallerOf(ctx); ok {
		return c.Name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "this process"
}
