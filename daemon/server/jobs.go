package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-backup/holdfast/daemon/access"
	"github.com/holdfast-backup/holdfast/daemon/api"
)

type startIn struct{ Body api.JobRequest }

func (s *Server) registerJobs() {
	add(s, endpoint[startIn, api.Job]{id: "start-job", method: http.MethodPost, path: "/jobs", tag: "jobs",
		summary: "Start a job",
		text: "Queues a backup, prune, sweep, check, empty-trash, restore or catalogue, and answers at once. A backup takes the permission `backup`, a check or catalogue `verify`, a restore `restore`, " +
			"the others `delete` (a sweep that only looks `verify`), each on its machine, or on all where it names none. " +
			"Open files come with the first bytes of the connection's first request, over the Unix socket (SCM_RIGHTS); `backup.open` names the disk of each. They are closed when the job is over.",
		may: access.See, audited: true, request: api.JobRequest{Kind: api.JobBackup, Vault: "main", Machine: "web1"}, answer: exampleJob,
		do: func(ctx context.Context, c *call, in *startIn) (api.Job, error) {
			r := &in.Body
			c.entry.Object, c.entry.Machine = firstBytes(r.Kind, 20), r.Machine
			if _, known := permissionOf(r.Kind); !known {
				return api.Job{}, badRequest(422, "kind: "+firstBytes(r.Kind, 40)+" is no kind of job", "backup, prune, sweep, check, empty-trash, restore or catalogue")
			}
			if err := c.allowed(ctx, "", func() []need { return jobNeeds(r) }); err != nil {
				return api.Job{}, err
			}
			if err := c.takeHanded(ctx, r); err != nil {
				return api.Job{}, err
			}
			j, err := s.c.Operations.Start(ctx, *r)
			if err == nil {
				c.entry.Object += " " + j.ID
			}
			c.entry.Object += saidOf(r)
			return j, err
		}})
	add(s, endpoint[jobQueryIn, []api.Job]{id: "list-jobs", method: http.MethodGet, path: "/jobs", tag: "jobs",
		summary: "List jobs", text: "Newest first, without their logs.",
		may: access.See, answer: []api.Job{exampleJob},
		do: func(ctx context.Context, c *call, in *jobQueryIn) ([]api.Job, error) {
			q, err := in.query()
			if err != nil {
				return nil, err
			}
			return c.jobs(ctx, q)
		}})
	add(s, endpoint[jobIn, api.Job]{id: "show-job", method: http.MethodGet, path: "/jobs/{job}", tag: "jobs",
		summary: "Show a job", text: "With its log.",
		may: access.See, answer: exampleJob,
		do: func(ctx context.Context, c *call, in *jobIn) (api.Job, error) { return c.job(ctx, in.Job) }})
	add(s, endpoint[jobIn, done]{id: "cancel-job", method: http.MethodPost, path: "/jobs/{job}/cancel", tag: "jobs",
		summary: "Cancel a job", text: "Asks it to end; what it had begun is undone. One that is over stays as it is.",
		may: access.See, audited: true,
		do: func(ctx context.Context, c *call, in *jobIn) (done, error) {
			if err := c.mayChangeJob(ctx, in.Job, true); err != nil {
				return done{}, err
			}
			return done{}, s.c.Operations.CancelJob(ctx, in.Job)
		}})
	add(s, endpoint[jobIn, api.Job]{id: "retry-job", method: http.MethodPost, path: "/jobs/{job}/retry", tag: "jobs",
		summary: "Retry a job", text: "Starts again one that failed, was cancelled or interrupted.",
		may: access.See, audited: true, answer: exampleJob,
		do: func(ctx context.Context, c *call, in *jobIn) (api.Job, error) {
			if err := c.mayChangeJob(ctx, in.Job, false); err != nil {
				return api.Job{}, err
			}
			return s.c.Operations.RetryJob(ctx, in.Job)
		}})
}

// done is the answer of what has nothing to tell.
type done struct{}

var _ huma.Resolver = (*startIn)(nil)

// Resolve refuses names that cannot be any.
func (in *startIn) Resolve(ctx huma.Context) []error {
	errs := checkVault(ctx, in.Body.Vault, "body.vault")
	if m := in.Body.Machine; m != "" && !isMachine(m) {
		errs = append(errs, &huma.ErrorDetail{Location: "body.machine", Message: "is no name or id of a machine"})
	}
	return errs
}

// permissionOf is what a kind of job takes.
func permissionOf(kind string) (access.Permission, bool) {
	switch kind {
	case api.JobBackup:
		return access.Backup, true
	case api.JobCheck, api.JobCatalogue:
		return access.Verify, true
	case api.JobRestore:
		return access.Restore, true
	case api.JobPrune, api.JobSweep, api.JobEmptyTrash:
		return access.Delete, true
	}
	return access.Delete, false
}

// jobNeeds lists on which machines a job takes its permission. What a kind of job does not
// heed, its machine for instance, narrows nothing.
func jobNeeds(r *api.JobRequest) []need {
	what, _ := permissionOf(r.Kind)
	switch r.Kind {
	case api.JobBackup:
		return []need{{what: what, vault: r.Vault, machine: &r.Machine, byName: true, orNew: r.Backup != nil && len(r.Backup.Disks) > 0}}
	case api.JobRestore:
		return onMachine(what, r.Vault, &r.Machine) // by its id: points of other machines had its name
	case api.JobCatalogue:
		if r.Machine != "" {
			return onMachine(what, r.Vault, &r.Machine)
		}
	case api.JobCheck:
		if r.Check != nil && r.Check.Point != "" {
			return onMachine(what, r.Vault, &r.Machine)
		}
	case api.JobPrune:
		if r.Prune != nil && len(r.Prune.Machines) > 0 && r.Machine == "" { // else that one is pruned, too
			var list []need
			for i := range r.Prune.Machines {
				list = append(list, need{what: what, vault: r.Vault, machine: &r.Prune.Machines[i]})
			}
			return list
		}
	case api.JobSweep:
		if r.Sweep != nil && r.Sweep.DryRun {
			return inVault(access.Verify, r.Vault) // it only looks
		}
	case api.JobEmptyTrash:
		if r.EmptyTrash != nil {
			return onEach(what, r.Vault, r.EmptyTrash.Points)
		}
	}
	return inVault(what, r.Vault)
}

// jobs lists the jobs that the caller may see.
func (c *call) jobs(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	const usual, all = 100, 10000
	limit := q.Limit
	if limit == 0 {
		limit = usual
	}
	if !c.who.MayAll(access.See) {
		q.Limit = all // so many are looked through for those that may be seen
	}
	list, err := c.s.c.Operations.Jobs(ctx, q)
	if err != nil {
		return nil, err
	}
	left := []api.Job{}
	for _, j := range list {
		if len(left) < limit && c.seesJob(&j) {
			j.Log = nil
			left = append(left, j)
		}
	}
	return left, nil
}

// seesJob tells whether the caller may see a job, and makes it what it may see of it. Who
// asked for a job sees it.
func (c *call) seesJob(j *api.Job) bool {
	may := func(what access.Permission) bool {
		return c.who.MayAll(what) || j.Machine != "" && c.who.May(what, j.Machine)
	}
	if !may(access.See) && j.By != c.who.Name {
		return false
	}
	if !may(access.Names) {
		jobWithoutFiles(j)
	}
	return true
}

// job returns a job as the caller may see it. One that it may not see is not there.
func (c *call) job(ctx context.Context, id string) (api.Job, error) {
	c.entry.Object = id
	j, err := c.s.c.Operations.Job(ctx, id)
	if err != nil {
		return api.Job{}, err
	}
	c.entry.Machine, c.entry.Vault = j.Machine, j.Vault
	if !c.seesJob(&j) {
		return api.Job{}, &api.Problem{Status: http.StatusNotFound, Title: "Not found", Exit: exitNotFound, Kind: kindNotFound, // word for word as where there is none
			Detail: "job " + id + ": there is no such job", Hint: "`holdfast jobs` lists what there is"}
	}
	return j, nil
}

// mayChangeJob refuses who may not do what a job does. Who asked for a job may cancel it.
func (c *call) mayChangeJob(ctx context.Context, id string, cancel bool) error {
	j, err := c.job(ctx, id)
	if err != nil {
		return err
	}
	what, _ := permissionOf(j.Kind)
	ofMachine := j.Kind == api.JobBackup || j.Kind == api.JobRestore || j.Kind == api.JobCatalogue && j.Machine != ""
	if c.who.MayAll(what) || cancel && j.By == c.who.Name || ofMachine && j.Machine != "" && c.who.May(what, j.Machine) {
		return nil
	}
	if !ofMachine {
		return c.who.Refuse(what, "")
	}
	return c.who.Refuse(what, j.Machine)
}
