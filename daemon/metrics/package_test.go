package metrics_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

var metricName = regexp.MustCompile(`\bholdfast_[a-z_]+\b`)

// shown are the names of all metrics, as they can be asked for.
func shown(t *testing.T) (families, series map[string]bool) {
	t.Helper()
	e := exporter(full(), nil)
	e.Jobs.Standing(0, 0)
	at, later := api.At(now), api.At(now.Add(time.Minute))
	e.Jobs.Ended(&api.Job{Kind: api.JobBackup, State: api.JobCompleted, Started: &at, Ended: &later})
	var b bytes.Buffer
	if err := e.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	families, series = map[string]bool{}, map[string]bool{}
	for name, f := range parse(t, b.Bytes()) {
		if !strings.HasPrefix(name, "holdfast_") {
			continue
		}
		families[name], series[name] = true, true
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		if len(f.Metric) > 0 && f.Metric[0].Histogram != nil {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				series[name+suffix] = true
			}
		}
	}
	return families, series
}

// TestWhatThePackageAsksForIsShown holds the dashboard and the alert rules to the metrics there are.
func TestWhatThePackageAsksForIsShown(t *testing.T) {
	t.Parallel()
	_, series := shown(t)
	for file, least := range map[string]int{"grafana-dashboard.json": 20, "prometheus-alerts.yaml": 12} {
		b, err := os.ReadFile(filepath.Join("..", "..", "integration", "package", file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", file)
		}
		names := metricName.FindAllString(string(b), -1)
		slices.Sort(names)
		names = slices.Compact(names)
		for _, name := range names {
			if !series[name] {
				t.Errorf("%s asks for %s, which is not shown", file, name)
			}
		}
		if len(names) < least {
			t.Errorf("%s asks for %q alone", file, names)
		}
	}
}

// TestTheListInTheREADMEIsWhole holds the documented list to the metrics there are.
func TestTheListInTheREADMEIsWhole(t *testing.T) {
	t.Parallel()
	families, _ := shown(t)
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n### Metrics\n")
	if !found {
		t.Fatal("the README has no section Metrics")
	}
	if at := strings.Index(section, "\n## "); at >= 0 {
		section = section[:at]
	}
	listed := map[string]bool{}
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "| `holdfast_") {
			continue
		}
		name := metricName.FindString(line)
		listed[name] = true
		if !families[name] {
			t.Errorf("the README lists %s, which is not shown", name)
		}
	}
	for name := range families {
		if !listed[name] {
			t.Errorf("the README does not list %s", name)
		}
	}
}
