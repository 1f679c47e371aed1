package daemon

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/config"
)

// newLogger writes what happens, for people or for programs. Keys that mean the same everywhere: vault,
// machine, job, point, policy, kind, error.
func newLogger(w io.Writer, c config.Log, level *slog.LevelVar) *slog.Logger {
	level.Set(levelOf(c.Level))
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

func levelOf(name string) slog.Level {
	var l slog.Level
	l.UnmarshalText([]byte(name)) // was checked; else it is info
	return l
}

// jobChanged is told of each job that is asked for, begins or ends.
func (d *Daemon) jobChanged(j api.Job) {
	if d.scheduler != nil {
		d.scheduler.jobChanged(j)
	}
	if d.overview != nil {
		d.overview.JobChanged(&j)
	}
	if j.State != api.JobQueued {
		d.logJob(j)
	}
}

// logJob tells of a job that began or ended.
func (d *Daemon) logJob(j api.Job) {
	keys := []any{"job", j.ID, "kind", j.Kind, "vault", d.vaultName(j.Vault)}
	add := func(key, value string) {
		if value != "" {
			keys = append(keys, key, value)
		}
	}
	add("machine", j.Machine)
	add("policy", j.Policy)
	if j.State == api.JobRunning {
		d.log.Info("job began", append(keys, "by", j.By, "attempt", j.Attempt)...)
		return
	}
	var made api.Backup
	if j.Kind == api.JobBackup && json.Unmarshal(j.Result, &made) == nil {
		add("point", made.Point.ID)
	}
	if j.Started != nil && j.Ended != nil {
		keys = append(keys, "seconds", j.Ended.Sub(j.Started.Time).Seconds(), "read", j.Read, "stored", j.Stored)
	}
	for _, w := range j.Warnings {
		d.log.Warn("job warns", append(keys[:6:6], "text", w)...)
	}
	level := slog.LevelInfo
	if j.Error != nil {
		add("error", j.Error.Detail)
		add("hint", j.Error.Hint)
		if level = slog.LevelError; j.State != api.JobFailed {
			level = slog.LevelWarn
		}
	}
	d.log.Log(context.Background(), level, "job ended", append(keys, "state", j.State)...)
}

func (d *Daemon) vaultName(key string) string {
	if h, err := d.vaults.find(key); err == nil {
		return h.known().Name
	}
	return key
}
