package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/metrics"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// full is a status in which everything is set that can be.
func full() api.Status {
	at := api.At(now)
	return api.Status{Time: at, AtRisk: true, Reasons: []string{"x"}, Warnings: []string{"y", "z"}, VMs: []api.UnprotectedVM{{Name: "new"}},
		Vaults: []api.VaultStatus{
			{Vault: api.Vault{ID: "1", Name: `v "one"` + "\n\\"}, Points: 3, Stored: 5, Free: 7, Size: 9, Sweep: &at, Check: &at, Forecast: &api.Growth{PerDay: 4, Full: &at, Early: &at}},
			{Vault: api.Vault{ID: "2", Name: "same"}, Problem: "it hangs", AtRisk: true},
			{Vault: api.Vault{ID: "3", Name: "same"}},
			{Vault: api.Vault{ID: "4", Name: "bad\xff"}, Clock: "wrong"},
		},
		Machines: []api.MachineStatus{
			{Name: "web1", ID: "a", Vault: "same", Good: &api.PointBrief{Time: at}, Last: &api.PointBrief{Time: at, Mode: "scan", Consistency: "crash", Asked: "filesystem"}, Objective: 60, Missed: true, Next: &at, Unprotected: &at, Job: &api.JobBrief{State: api.JobFailed}},
			{Name: "web1", ID: "b", Vault: "same"},
		}}
}

func parse(t *testing.T, text []byte) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return families
}

func exporter(s api.Status, err error) *metrics.Exporter {
	return &metrics.Exporter{Status: func(context.Context) (api.Status, error) { return s, err }, Jobs: metrics.NewJobs(), Version: api.Version{Version: "1.2"}, Process: true}
}

// value finds the sample with some labels.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		got := []string{}
		for _, l := range m.Label {
			got = append(got, l.GetName(), l.GetValue())
		}
		if strings.Join(got, "|") == strings.Join(labels, "|") {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Errorf("there is no %s%q in %v", name, labels, families[name])
	return -1
}

func TestARealParserReadsWhatIsShown(t *testing.T) {
	t.Parallel()
	e := exporter(full(), nil)
	e.Jobs.Standing(2, 1)
	e.Jobs.Ended(&api.Job{Kind: api.JobBackup, State: api.JobFailed, Read: 5, Started: ptr(api.At(now)), Ended: ptr(api.At(now.Add(time.Minute)))})
	e.Jobs.Ended(&api.Job{Kind: api.JobBackup, State: api.JobRunning})
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	families := parse(t, w.Body.Bytes())
	for _, c := range []struct {
		want   float64
		name   string
		labels []string
	}{
		{1, "holdfast_at_risk", nil}, {2, "holdfast_warnings", nil}, {1, "holdfast_status_ok", nil},
		{3, "holdfast_vault_points", []string{"vault", `v "one"` + "\n\\"}},
		{0, "holdfast_vault_up", []string{"vault", "same"}}, {1, "holdfast_vault_up", []string{"vault", "same (3)"}},
		{0, "holdfast_vault_clock_trusted", []string{"vault", "bad?"}},
		{float64(now.Unix()), "holdfast_vault_full_timestamp_seconds", []string{"vault", `v "one"` + "\n\\"}},
		{1, "holdfast_machine_rpo_missed", []string{"machine", "web1", "vault", "same"}},
		{0, "holdfast_machine_last_point_consistent", []string{"machine", "web1", "vault", "same"}},
		{0, "holdfast_machine_rpo_missed", []string{"machine", "web1 (b)", "vault", "same"}},
		{1, "holdfast_jobs_ended_total", []string{"kind", "backup", "state", "failed"}},
		{2, "holdfast_jobs", []string{"state", "queued"}},
		{5, "holdfast_backup_bytes_total", []string{"what", "read"}},
	} {
		if got := value(t, families, c.name, c.labels...); got != c.want {
			t.Errorf("%s%q is %v, want %v", c.name, c.labels, got, c.want)
		}
	}
	if len(families["holdfast_machine_last_good_timestamp_seconds"].Metric) != 1 {
		t.Error("a machine without a point shows the time of one")
	}
	if families["process_resident_memory_bytes"] == nil {
		t.Error("nothing is said of the process")
	}
}

func TestWithoutAStatusThatIsSaid(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	exporter(api.Status{}, errors.New("it hangs")).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	families := parse(t, w.Body.Bytes())
	if got := value(t, families, "holdfast_status_ok"); got != 0 || families["holdfast_at_risk"] != nil {
		t.Errorf("%v, %v", got, families["holdfast_at_risk"])
	}
}

func TestATextfileIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "holdfast.prom")
	e := exporter(full(), nil)
	for range 2 { // the second time in its place
		if err := e.WriteFile(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	parse(t, b)
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o644 {
		t.Errorf("%v", st.Mode())
	}
	if err := e.WriteFile(t.Context(), filepath.Join(name, "below", "a.prom")); err == nil {
		t.Error("a file below a file was written")
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func ptr[T any](v T) *T { return &v }
