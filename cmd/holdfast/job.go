package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

func jobCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "job",
		Usage:       "look at single jobs, end them and start them again",
		Subcommands: []*cli.Command{jobShowCommand(k), jobCancelCommand(k), jobRetryCommand(k)},
	}
}

func jobShowCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "show",
		Usage:       "show all about a job",
		ArgsUsage:   "JOB",
		Description: "Shows what a job was asked to do, by whom, how far it came, what it warned of and why it failed,\nand its log.",
		UsageText:   "holdfast job show j1a2070123456789ab",
		Flags:       []cli.Flag{stateFlag(), jsonFlag(), localFlag()},
		Action: func(c *cli.Context) error {
			return k.withJob(c, func(ctx context.Context, at jobsAt, id string) error {
				j, err := at.job(ctx, id)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return k.json(j)
				}
				return showJob(k, j, c.Bool("local"))
			})
		},
	}
}

func jobCancelCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "cancel",
		Usage:       "end a job of the daemon",
		ArgsUsage:   "JOB",
		Description: "Ends a job that waits or runs. What a backup stored is used by the next one of the machine.",
		UsageText:   "holdfast job cancel j1a2070123456789ab",
		Flags:       []cli.Flag{stateFlag()},
		Action: func(c *cli.Context) error {
			return k.withJob(c, func(ctx context.Context, at jobsAt, id string) error {
				w, err := at.needed()
				if err != nil {
					return err
				}
				j, err := w.Job(ctx, id)
				if err != nil {
					return err
				}
				if j.Over() {
					k.printf("job %s is over: %s\n", id, j.State)
					return nil
				}
				if err := w.CancelJob(ctx, id); err != nil {
					return err
				}
				k.printf("job %s is told to end\n", id)
				return nil
			})
		},
	}
}

func jobRetryCommand(k *console) *cli.Command {
	return &cli.Command{
		Name:        "retry",
		Usage:       "start a job of the daemon again",
		ArgsUsage:   "JOB",
		Description: "Starts a job again, as it was asked for, that failed, was cancelled or interrupted. The new job has an\nid of its own; `holdfast job show` follows from one to the other.",
		UsageText:   "holdfast job retry j1a2070123456789ab",
		Flags:       []cli.Flag{stateFlag(), jsonFlag()},
		Action: func(c *cli.Context) error {
			return k.withJob(c, func(ctx context.Context, at jobsAt, id string) error {
				w, err := at.needed()
				if err != nil {
					return err
				}
				j, err := w.RetryJob(ctx, id)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return k.json(j)
				}
				k.printf("job %s is started again as %s\n", id, j.ID)
				return nil
			})
		},
	}
}

// withJob finds out which job is meant and where jobs are, and does that.
func (k *console) withJob(c *cli.Context, do func(ctx context.Context, at jobsAt, id string) error) error {
	args, err := takeArgs(c, "JOB")
	if err != nil {
		return err
	}
	at, err := k.jobsAt(c)
	if err != nil {
		return err
	}
	defer at.close()
	return do(c.Context, at, args[0])
}

func showJob(k *console, j api.Job, local bool) error {
	rows := [][]string{{"job", j.ID}, {"kind", j.Kind}, {"vault", j.Vault}, {"machine", dash(j.Machine)}, {"state", j.State}, {"asked by", j.By},
		{"asked", k.moment(j.Queued.Time, local)}}
	for _, at := range []struct {
		what string
		when *api.Time
	}{{"due", j.Due}, {"began", j.Started}, {"ended", j.Ended}} {
		if at.when != nil {
			rows = append(rows, []string{at.what, k.moment(at.when.Time, local)})
		}
	}
	if j.RetryOf != "" {
		rows = append(rows, []string{"attempt", fmt.Sprintf("%d, after %s", j.Attempt, j.RetryOf)})
	}
	if j.WaitsFor != "" {
		rows = append(rows, []string{"waits", j.WaitsFor})
	}
	if j.Phase != "" {
		rows = append(rows, []string{"phase", j.Phase})
	}
	if j.Total > 0 && j.Unit == "bytes" {
		rows = append(rows, []string{"progress", fmt.Sprintf("%s of %s", formatSize(j.Done), formatSize(j.Total))})
	} else if j.Total > 0 {
		rows = append(rows, []string{"progress", fmt.Sprintf("%d of %d %s", j.Done, j.Total, j.Unit)})
	}
	rows = append(rows, []string{"read", fmt.Sprintf("%s (%s/s)", formatSize(j.Read), formatSize(j.Rate))},
		[]string{"changed", formatSize(j.Changed)}, []string{"stored", formatSize(j.Stored)})
	if j.Error != nil {
		rows = append(rows, []string{"error", j.Error.Detail})
		if j.Error.Hint != "" {
			rows = append(rows, []string{"hint", j.Error.Hint})
		}
	}
	if err := k.table(rows); err != nil {
		return err
	}
	for _, l := range j.Log {
		k.printf("%s  %-5s %s\n", k.moment(l.Time.Time, local), l.Level, l.Text)
	}
	return nil
}
