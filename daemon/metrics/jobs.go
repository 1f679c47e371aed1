package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Jobs counts jobs. Its methods are safe for concurrent use.
type Jobs struct {
	ended    *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	standing *prometheus.GaugeVec
}

// NewJobs returns counters that are zero.
func NewJobs() *Jobs {
	return &Jobs{
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_jobs_ended_total", Help: "Jobs that ended since the daemon started."}, []string{"kind", "state"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "holdfast_job_duration_seconds", Help: "How long jobs ran that ended since the daemon started.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 10 * 3600}}, []string{"kind"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "holdfast_backup_bytes_total", Help: "Bytes that backups which ended since the daemon started read, found changed, and stored."}, []string{"what"}),
		standing: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdfast_jobs", Help: "Jobs that are queued or running."}, []string{"state"}),
	}
}

// Ended counts a job whose state is final; others are passed over.
func (j *Jobs) Ended(job *api.Job) {
	if !job.Over() {
		return
	}
	j.ended.WithLabelValues(job.Kind, job.State).Inc()
	if job.Started != nil {
		j.seconds.WithLabelValues(job.Kind).Observe(since(job.Started, job.Ended).Seconds())
	}
	if job.Kind == api.JobBackup {
		for what, n := range map[string]int64{"read": job.Read, "changed": job.Changed, "stored": job.Stored} {
			j.bytes.WithLabelValues(what).Add(float64(max(n, 0)))
		}
	}
}

// Standing says how many jobs wait and run now.
func (j *Jobs) Standing(queued, running int) {
	j.standing.WithLabelValues(api.JobQueued).Set(float64(queued))
	j.standing.WithLabelValues(api.JobRunning).Set(float64(running))
}

func (j *Jobs) collectors() []prometheus.Collector {
	return []prometheus.Collector{j.ended, j.seconds, j.bytes, j.standing}
}
