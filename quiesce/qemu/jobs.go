package qemu

import (
	"context"
	"fmt"
	"strings"
)

// job is an entry of query-jobs.
type job struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

func (j *job) why() string {
	if j == nil || j.Error == "" {
		return ""
	}
	return ": QEMU says: " + j.Error
}

// jobs are ours, by name.
func (m *Machine) jobs(ctx context.Context) (map[string]*job, error) {
	var list []job
	if err := m.do(ctx, "query-jobs", nil, &list); err != nil {
		return nil, err
	}
	found := map[string]*job{}
	for i := range list {
		if strings.HasPrefix(list[i].ID, prefix) {
			found[list[i].ID] = &list[i]
		}
	}
	return found, nil
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
