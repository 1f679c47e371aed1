package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/metrics"
	"github.com/holdfast-backup/holdfast/daemon/notify"
)

// OverviewOptions say what an Overview tells, and whom.
type OverviewOptions struct {
	// Status tells how all stands. It may take as long as it takes.
	Status   func(context.Context, api.StatusQuery) (api.Status, error)
	Standing func() (queued, running int) // jobs; nil: they are not counted
	Notify   *notify.Notifier             // nil: nobody is told
	Textfile string                       // of metrics, for node_exporter; "": none
	Version  api.Version
	Every    time.Duration // 0: a minute
	Log      *slog.Logger
}

// Overview finds out now and then how all stands, keeps that, and tells people and Prometheus.
// Its methods are safe for concurrent use; none but Run waits.
type Overview struct {
	o        OverviewOptions
	jobs     *metrics.Jobs
	exporter *metrics.Exporter

	mu   sync.Mutex
	last api.Status
	err  error // why there is none
}

// NewOverview returns one that knows nothing yet.
func NewOverview(o OverviewOptions) *Overview {
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	w := &Overview{o: o, jobs: metrics.NewJobs(), err: errors.New("nothing is known yet")}
	w.exporter = &metrics.Exporter{Status: w.Last, Jobs: w.jobs, Version: o.Version, Process: true}
	return w
}

// Last is the status that was found last. The error says why there is none.
func (w *Overview) Last(context.Context) (api.Status, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.err
}

// JobChanged is to be called whenever a job begins or ends.
func (w *Overview) JobChanged(j *api.Job) {
	w.jobs.Ended(j)
	if w.o.Notify != nil {
		w.o.Notify.Job(j)
	}
}

// Metrics serves what Prometheus reads.
func (w *Overview) Metrics() http.Handler {
	return http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		w.count()
		w.exporter.ServeHTTP(to, r)
	})
}

func (w *Overview) count() {
	if w.o.Standing != nil {
		w.jobs.Standing(w.o.Standing())
	}
}

// Run looks, tells, and waits, until ctx ends; then it returns nil.
func (w *Overview) Run(ctx context.Context) error {
	var g errgroup.Group
	if w.o.Notify != nil {
		g.Go(func() error { return w.o.Notify.Watch(ctx) })
	}
	g.Go(func() error {
		tick := time.NewTicker(w.o.Every)
		defer tick.Stop()
		for {
			w.look(ctx)
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	})
	return g.Wait()
}

// look is one cycle.
func (w *Overview) look(ctx context.Context) {
	s, err := w.o.Status(ctx, api.StatusQuery{})
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	if w.err = err; err == nil {
		w.last = s
	}
	w.mu.Unlock()
	if err != nil {
		w.o.Log.Error("the status cannot be told", "error", err)
	} else if w.o.Notify != nil {
		w.o.Notify.Status(&s)
	}
	if w.o.Textfile == "" {
		return
	}
	w.count()
	if err := w.exporter.WriteFile(ctx, w.o.Textfile); err != nil {
		w.o.Log.Warn("metrics are not written", "error", err)
	}
}
