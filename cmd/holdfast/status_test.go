package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// statusOf is what `status --json` says, and its exit code.
func statusOf(t *testing.T, s *shell, words ...string) (st api.Status, code int) {
	t.Helper()
	o := s.run(append([]string{"status", "--no-host", "--json"}, words...)...)
	if err := json.Unmarshal([]byte(o.out), &st); err != nil {
		t.Fatalf("%v in %+v", err, o)
	}
	return st, o.code
}

func TestStatusSaysWhoIsAtRiskAndWhy(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 20, "web1", "db1")
	st, _ := statusOf(t, s)
	if len(st.Machines) != 2 || st.Machines[0].Name != "db1" || st.Machines[0].AtRisk || st.Machines[0].Good == nil || st.Machines[0].Points != 20 {
		t.Fatalf("%+v", st.Machines)
	}
	if v := st.Vaults[0]; v.Points != 40 || v.Machines != 2 || v.Stored == 0 || v.Size == 0 {
		t.Errorf("%+v", v)
	}
	s.must(exitDone, "policy", "set", "web", "--machines", "web*", "--rpo", "1h", "--schedule", "daily at 22:00")
	st, code := statusOf(t, s)
	if code != exitWarnings || !st.AtRisk || !st.Machines[0].AtRisk || st.Machines[0].Unprotected == nil {
		t.Fatalf("%d: %+v", code, st)
	}
	s.must(exitWarnings, "status", "--no-host").says(t, "machine db1: UNPROTECTED since")
	s.must(exitDone, "ignore", "db1").says(t, "ignored: db1")
	if st, _ := statusOf(t, s); st.Machines[0].AtRisk || !st.Machines[0].Ignored {
		t.Errorf("%+v", st.Machines[0])
	}
	s.must(exitDone, "ignore", "db1", "--remove").says(t, "nothing is ignored")
	s.must(exitNotFound, "ignore", "db1", "--remove")
	s.must(exitWarnings, "status", "--no-host", "--machine", "db1").says(t, "newest good")
	s.must(exitNotFound, "status", "--no-host", "--machine", "nobody")
	o := s.must(2, "status", "--no-host", "--nagios")
	if !strings.HasPrefix(o.out, "HOLDFAST CRITICAL - ") || strings.Count(o.out, "\n") != 1 || o.err != "" {
		t.Errorf("%+v", o)
	}
	s.must(exitUsage, "status", "--nagios", "--json")
}

func TestOfAVaultThatIsNotThereTheLastStatusIsShown(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 3, "web1")
	s.run("status") // asks the host, and is kept
	path := s.env["HOLDFAST_VAULT"]
	if _, err := os.Stat(filepath.Join(s.env["HOLDFAST_STATE"], "status.json")); err == nil {
		t.Fatal("a folder was made that nobody asked for")
	}
	if err := os.MkdirAll(s.env["HOLDFAST_STATE"], 0o700); err != nil {
		t.Fatal(err)
	}
	s.run("status")
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	st, code := statusOf(t, s)
	v := st.Vaults[0]
	if code != exitWarnings || v.Problem == "" || v.AsOf == nil || v.Points != 3 || len(st.Machines) != 1 || time.Since(v.AsOf.Time) > time.Hour {
		t.Errorf("%d %+v", code, st)
	}
	if err := os.RemoveAll(filepath.Join(s.env["HOLDFAST_STATE"], "status.json")); err != nil {
		t.Fatal(err)
	}
	s.must(3, "status", "--no-host", "--nagios").says(t, "HOLDFAST UNKNOWN - vault vault: it cannot be read: ")
}

func TestUsageIsReportedForABill(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 3, "web1")
	month := time.Now().UTC().AddDate(0, 0, -1).Format("2006-01")
	o := s.must(exitDone, "report", "usage", "--month", month, "--csv", "--exclusive")
	rows, err := csv.NewReader(strings.NewReader(o.out)).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != month || rows[1][2] != "web1" || rows[1][4] != "1" || rows[1][5] == "0" || rows[1][9] == "" {
		t.Errorf("%q, %v", rows, err)
	}
	s.must(exitDone, "report", "usage", "--month", month, "--exclusive").says(t, "INSTANCES")
	s.must(exitDone, "report", "usage", "--month", "1999-01", "--json").says(t, `"machines": []`)
	s.must(exitUsage, "report", "usage", "--month", "1999").says(t, "write, for example, 2026-11")
	s.must(exitNotFound, "report", "usage", "--machine", "nobody")
}

func TestAStatusFitsOnAScreen(t *testing.T) {
	t.Parallel()
	st := api.Status{AtRisk: true}
	for range 200 {
		st.Reasons = append(st.Reasons, "machine web: late")
		st.Machines = append(st.Machines, api.MachineStatus{Name: "web"})
	}
	for i := range 50 {
		st.Machines[4*i].AtRisk, st.Machines[4*i].Reasons = true, []string{"late"}
	}
	var out bytes.Buffer
	k := &console{out: &out, getenv: func(string) string { return "" }}
	if err := k.showStatus(st, statusOptions{}); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n > 50 || !strings.Contains(out.String(), "... and 188 more: --all lists them") || !strings.Contains(out.String(), "150 machines of which nothing") || !strings.Contains(out.String(), "20 machines more") {
		t.Errorf("%d lines:\n%s", n, &out)
	}
	out.Reset()
	if err := k.showStatus(st, statusOptions{all: true}); err != nil || strings.Count(out.String(), "\n") < 400 {
		t.Errorf("%v, %d lines", err, strings.Count(out.String(), "\n"))
	}
}

func TestColoursAreForTerminalsAlone(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	k := &console{getenv: func(n string) string { return env[n] }, outTerm: true}
	if got := k.painter()(red, "a\x1b[0m\nb"); got != "\x1b[31ma�[0m b\x1b[0m" {
		t.Errorf("%q", got)
	}
	env["NO_COLOR"] = "1"
	if got := k.painter()(red, "a"); got != "a" {
		t.Errorf("%q", got)
	}
	env, k.outTerm = map[string]string{}, false
	if got := k.painter()(red, "a"); got != "a" {
		t.Errorf("%q", got)
	}
}
