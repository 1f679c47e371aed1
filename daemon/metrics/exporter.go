package metrics

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// Exporter shows metrics. Its methods are safe for concurrent use.
type Exporter struct {
	Status  func(context.Context) (api.Status, error) // asked for each time; quick, and with a deadline of its own
	Jobs    *Jobs                                     // nil: none are counted
	Version api.Version
	// Process says whether the process tells of itself, too: memory, descriptors, goroutines.
	Process bool
}

// ServeHTTP shows all metrics. Where the status cannot be told, what is left is shown, and
// holdfast_status_ok is 0.
func (e *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	w.Header().Set("Cache-Control", "no-store")
	if err := e.Write(r.Context(), w); err != nil && r.Context().Err() == nil {
		// What was written is cut short, which the reader finds out.
		fmt.Fprintf(w, "# %v\n", err)
	}
}

// Write writes all metrics in Prometheus' text format.
func (e *Exporter) Write(ctx context.Context, w io.Writer) error {
	r := prometheus.NewRegistry()
	ok := prometheus.NewGauge(prometheus.GaugeOpts{Name: "holdfast_status_ok", Help: "1 where the status could be told."})
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "holdfast_build_info", Help: "The program that shows this; always 1."}, []string{"version", "revision"})
	build.WithLabelValues(e.Version.Version, e.Version.Revision).Set(1)
	all := []prometheus.Collector{ok, build}
	if s, err := e.Status(ctx); err == nil {
		ok.Set(1)
		all = append(all, statusCollector{&s})
	}
	if e.Jobs != nil {
		all = append(all, e.Jobs.collectors()...)
	}
	if e.Process {
		all = append(all, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collectors.NewGoCollector())
	}
	for _, c := range all {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	families, err := r.Gather()
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// WriteFile writes all metrics to a file for node_exporter, whole or not at all, readable by
// everybody. Its name ends with .prom, or node_exporter passes it over.
func (e *Exporter) WriteFile(ctx context.Context, name string) error {
	err := smallfile.Write(name, 0o644, smallfile.Lightly, func(w io.Writer) error { return e.Write(ctx, w) })
	if err != nil {
		return fmt.Errorf("write metrics to %s: %w", name, err)
	}
	return nil
}
