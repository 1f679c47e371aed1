package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

func jobsCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:      "jobs",
		Usage:     "list what the daemon does, and did",
		ArgsUsage: "[MACHINE]",
		Description: `Lists jobs, the newest first: those of the daemon or, where none answers, those that the last one
kept in this host's state folder. Backups, prunes, sweeps and checks of commands that work without
a daemon are not among them. With --follow the list goes on: a line for each job that is new
or has changed its state, until it is interrupted.`,
		UsageText: "holdfast jobs\nholdfast jobs web1 --state failed\nholdfast jobs --follow\nholdfast jobs --json | jq -r '.[] | select(.error) | .error.detail'",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Usage: "go on with what changes"},
			&cli.StringFlag{Name: "kind", Usage: "`KIND`: only backup, prune, sweep, check, empty-trash, restore or catalogue"},
			&cli.StringFlag{Name: "state", Usage: "`STATE`: only queued, running, completed, failed, cancelled or interrupted"},
			&cli.IntFlag{Name: "limit", Usage: "list `N` jobs at most (default 100)"},
			stateFlag(), jsonFlag(), localFlag(),
		},
		Action: func(c *cli.Context) error {
			o, err := jobListingOf(k, c)
			if err != nil {
				return err
			}
			return listJobs(c.Context, k, o)
		},
	}
}

// jobListing says which jobs are listed, and how.
type jobListing struct {
	at                  jobsAt
	query               api.JobQuery
	follow, json, local bool
}

func jobListingOf(k *console, c *cli.Context) (o jobListing, err error) {
	args, err := takeArgs(c, "[MACHINE]")
	if err != nil {
		return o, err
	}
	if args[0] != "" {
		if err := checkMachine(args[0]); err != nil {
			return o, err
		}
	}
	o = jobListing{follow: c.Bool("follow"), json: c.Bool("json"), local: c.Bool("local"),
		query: api.JobQuery{Machine: args[0], Kind: c.String("kind"), State: c.String("state"), Limit: c.Int("limit")}}
	switch {
	case c.IsSet("limit") && o.query.Limit <= 0:
		return o, usagef("--limit is %d", o.query.Limit)
	case o.follow && o.json:
		return o, usagef("--follow and --json exclude each other")
	}
	o.at, err = k.jobsAt(c)
	return o, err
}

// jobsAt is where jobs are: with a daemon, or in a folder.
type jobsAt struct {
	daemon *worker // nil: none answers
	dir    string
	doubts func(string) // told of jobs that cannot be read
}

// jobsAt finds the daemon of this host, or the folder in which it kept its jobs.
func (k *console) jobsAt(c *cli.Context) (at jobsAt, err error) {
	if !k.withoutDaemon() {
		for _, dir := range k.runDirs() {
			if _, err := os.Stat(filepath.Join(dir, service.SocketName)); err != nil {
				continue
			}
			if at.daemon = k.reach(c.Context, dir, ""); at.daemon != nil {
				return at, nil
			}
		}
	}
	state := c.String("state-dir")
	if state == "" {
		state = k.usualState()
	}
	if state == "" {
		return at, usagef("there is no folder to remember in").hinted("give --state-dir DIR, or set HOLDFAST_STATE")
	}
	at.dir, at.doubts = jobsIn(state), func(doubt string) { k.say("warning: %s", doubt) }
	return at, nil
}

// jobsIn is the folder of the daemon's jobs in a state folder.
func jobsIn(state string) string { return filepath.Join(state, "jobs") }

func (at jobsAt) close() {
	if at.daemon != nil {
		at.daemon.close()
	}
}

func (at jobsAt) list(ctx context.Context, q api.JobQuery) ([]api.Job, error) {
	if at.daemon != nil {
		return at.daemon.Jobs(ctx, q)
	}
	all, doubts, err := jobs.Look(at.dir, q)
	for _, d := range doubts {
		at.doubts(d)
	}
	return all, err
}

func (at jobsAt) job(ctx context.Context, id string) (api.Job, error) {
	if at.daemon != nil {
		return at.daemon.Job(ctx, id)
	}
	return jobs.LookAt(at.dir, id)
}

// needed returns the daemon, for what only that can do.
func (at jobsAt) needed() (*worker, error) {
	if at.daemon == nil {
		return nil, service.Hinted(errors.New("no daemon answers on this host"), "jobs are the daemon's: `systemctl start holdfast` starts it")
	}
	return at.daemon, nil
}

func listJobs(ctx context.Context, k *console, o jobListing) error {
	defer o.at.close()
	all, err := o.at.list(ctx, o.query)
	if err != nil {
		return err
	}
	if o.json {
		return k.json(all)
	}
	if len(all) == 0 && !o.follow {
		k.say("there are no such jobs")
		return nil
	}
	if !o.follow {
		rows := [][]string{{"JOB", "KIND", "MACHINE", "STATE", "BEGAN", "TOOK", "READ", "STORED", "WHAT"}}
		for _, j := range all {
			rows = append(rows, jobRow(k, j, o.local, time.Now()))
		}
		return k.table(rows, 6, 7)
	}
	return followJobs(ctx, k, o)
}

// followEvery is how often a list that is followed is looked at again.
const followEvery = time.Second

// followJobs prints a line for each job that is not over, and for each change of a state from now on.
func followJobs(ctx context.Context, k *console, o jobListing) error {
	known := map[string]string{}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for first := true; ; first = false {
		all, err := o.at.list(ctx, o.query)
		if ctx.Err() != nil {
			return nil // it is how following ends
		}
		if err != nil {
			return err
		}
		for i := len(all) - 1; i >= 0; i-- {
			j := all[i]
			if known[j.ID] != j.State && !(first && j.Over()) {
				k.printf("%s  %s\n", k.moment(time.Now(), o.local), strings.Join(jobRow(k, j, o.local, time.Now()), "  "))
			}
			known[j.ID] = j.State
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func jobRow(k *console, j api.Job, local bool, now time.Time) []string {
	began, took := "-", "-"
	if j.Started != nil {
		began = k.moment(j.Started.Time, local)
		end := now
		if j.Ended != nil {
			end = j.Ended.Time
		}
		if j.Ended != nil || !j.Over() {
			took = end.Sub(j.Started.Time).Round(time.Second).String()
		}
	}
	return []string{j.ID, j.Kind, dash(j.Machine), j.State, began, took, formatSize(j.Read), formatSize(j.Stored), jobWords(j)}
}

// jobWords say what a job does, or how it ended.
func jobWords(j api.Job) string {
	switch {
	case j.Error != nil:
		line, _, _ := strings.Cut(j.Error.Detail, "\n")
		return line
	case len(j.Warnings) > 0:
		return count(len(j.Warnings), "warning") + ": " + j.Warnings[0]
	case j.State == api.JobRunning && j.Total > 0:
		return strings.TrimSpace(fmt.Sprintf("%s %d%%", j.Phase, int(100*float64(j.Done)/float64(j.Total))))
	case j.WaitsFor != "":
		return "waits: " + j.WaitsFor
	}
	return dash(j.Phase)
}
