package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// large is an api.Operations of a host with many machines and points.
type large struct {
	*fake
	machines []api.Machine
	points   []api.Point
}

func newLarge(machines, points int) *large {
	l := &large{fake: &fake{}}
	for i := range machines {
		m := fakeMachine(fmt.Sprintf("vm%03d", i))
		l.machines = append(l.machines, m)
		for j := range points {
			p := fakePoint(m.Name)
			p.ID = fmt.Sprintf("p%08d", i*points+j)
			l.points = append(l.points, p)
		}
	}
	return l
}

func (l *large) Machines(context.Context, string) ([]api.Machine, error)     { return l.machines, nil }
func (l *large) Points(context.Context, string, string) ([]api.Point, error) { return l.points, nil }
func (l *large) Jobs(context.Context, api.JobQuery) ([]api.Job, error) {
	return slices.Repeat([]api.Job{fakeJob("web1")}, 100), nil
}
func (l *large) Status(context.Context, api.StatusQuery) (api.Status, error) {
	st := exampleStatus
	st.Machines = slices.Repeat(st.Machines, len(l.machines))
	return st, nil
}

// BenchmarkRequests measures requests over a Unix socket, one after the other, with the 99th
// percentile beside the mean.
func BenchmarkRequests(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes a while")
	}
	host := newLarge(200, 365)
	st := newSite(b, func(c *Config) { c.Operations, c.Watching = host, host })
	client := dial(b, st.run(b))
	for _, row := range []struct {
		name string
		call func() error
	}{
		{"whoami", func() error { _, err := client.WhoAmI(b.Context()); return err }},
		{"job", func() error { _, err := client.Job(b.Context(), "j-web1"); return err }},
		{"jobs-100", func() error { _, err := client.Jobs(b.Context(), api.JobQuery{}); return err }},
		{"status-200", func() error { _, err := client.Status(b.Context(), api.StatusQuery{}); return err }},
		{"machines-200", func() error { _, err := client.Machines(b.Context(), "main"); return err }},
		{"points-73000", func() error { _, err := client.Points(b.Context(), "main", ""); return err }},
		{"disk-4MiB", func() error {
			r, err := client.DiskContent(b.Context(), "main", "web1", "latest", "vda", 0, -1)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.Copy(io.Discard, r)
			return err
		}},
		{"cancel", func() error { return client.CancelJob(b.Context(), "j-web1") }}, // with a line of the audit log
	} {
		b.Run(row.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				if err := row.call(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
		})
	}
}

// BenchmarkAViewerOfSome measures the listing of all points for a caller who may see a part.
func BenchmarkAViewerOfSome(b *testing.B) {
	host := newLarge(200, 365)
	st := newSite(b, func(c *Config) { c.Operations = host })
	secret := st.secret(b, "viewer", "vm0*")
	for b.Loop() {
		if w := st.ask(secret, http.MethodGet, base+"/vaults/main/points", ""); w.Code != 200 {
			b.Fatal(w.Body)
		}
	}
}
