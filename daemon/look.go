package daemon

import (
	"context"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
	"github.com/holdfast-backup/holdfast/daemon/notify"
)

// overviewOf is the overview of this daemon, and who is told of it.
func (d *Daemon) overviewOf(conf config.Config) (*Overview, error) {
	o := OverviewOptions{Status: d.service.Status, Standing: d.standing, Textfile: conf.MetricsTextfile, Version: d.o.Version, Log: d.log}
	if c, ok := conf.Notifications.(*notify.Config); ok && !c.IsZero() {
		var err error
		if o.Notify, err = notify.New(*c, notify.Options{StateDir: conf.State, Log: d.log}); err != nil {
			return nil, err
		}
	}
	return NewOverview(o), nil
}

// standing counts the jobs that are not over.
func (d *Daemon) standing() (queued, running int) {
	for _, j := range d.jobs.Unfinished("") {
		if j.State == api.JobRunning {
			running++
		} else {
			queued++
		}
	}
	return queued, running
}

// overlook has the overview told until ctx ends.
func (d *Daemon) overlook(ctx context.Context) {
	if err := d.overview.Run(ctx); err != nil {
		d.log.Error("nobody is told any more how all stands", "error", err)
	}
}
