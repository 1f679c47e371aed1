package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// roleNames are what can be granted, and jobKinds and jobStates what a list of jobs can be about.
var (
	roleNames = []string{"viewer", "restorer", "operator", "admin"}
	jobKinds  = []string{api.JobBackup, api.JobPrune, api.JobSweep, api.JobCheck, api.JobEmptyTrash, api.JobRestore, api.JobCatalogue}
	jobStates = []string{api.JobQueued, api.JobRunning, api.JobCompleted, api.JobFailed, api.JobCancelled, api.JobInterrupted}
)

// jobPatience bounds the question for jobs: a daemon that lives answers in a few milliseconds, and one that does
// not is not waited for.
const jobPatience = 150 * time.Millisecond

// mostJobs is how many jobs are offered, the newest.
const mostJobs = 50

// jobs are the ids of jobs that the command can be about.
func (t *typed) jobs(ctx context.Context, k *console) (ids []string) {
	ctx, cancel := context.WithTimeout(ctx, jobPatience)
	defer cancel()
	if all, answered := daemonsJobs(ctx, k); answered {
		for _, j := range all {
			ends, again := t.command.Name == "cancel", t.command.Name == "retry"
			fits := !ends && !again || ends && !j.Over() || again && j.Over() && j.State != api.JobCompleted
			if fits && len(ids) < mostJobs {
				ids = append(ids, j.ID)
			}
		}
		return ids
	}
	if t.command.Name != "show" {
		return nil // what only a daemon does
	}
	state := t.state
	if state == "" {
		state = k.usualState()
	}
	if state == "" {
		return nil
	}
	return jobs.Newest(jobsIn(state), mostJobs)
}

// daemonsJobs asks the daemon of this host. Nothing is said where none answers.
func daemonsJobs(ctx context.Context, k *console) ([]api.Job, bool) {
	if k.withoutDaemon() {
		return nil, false
	}
	for _, dir := range k.runDirs() {
		socket := filepath.Join(dir, service.SocketName)
		if _, err := os.Stat(socket); err != nil {
			continue
		}
		ops, done, err := k.dial(socket)
		if err != nil {
			continue
		}
		all, err := ops.Jobs(ctx, api.JobQuery{})
		done()
		if err == nil {
			return all, true
		}
	}
	return nil, false
}
