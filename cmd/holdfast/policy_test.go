package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// text is a small disk.
type text struct{ *strings.Reader }

func (s text) Extents(_ context.Context, fn func(blockstore.Extent) error) error {
	return fn(blockstore.Extent{Length: s.Size(), Kind: blockstore.Data})
}

// oldVault makes a vault with a point of each machine for each of some days until today.
func oldVault(t *testing.T, days int, machines ...string) *shell {
	t.Helper()
	s := newShell(t)
	folder := t.TempDir()
	if dir, err := os.MkdirTemp("/dev/shm", "holdfast-test-"); err == nil { // hundreds of commits are synced
		t.Cleanup(func() { os.RemoveAll(dir) })
		folder = dir
	}
	path := filepath.Join(folder, "vault")
	s.env["HOLDFAST_VAULT"] = path
	s.must(exitDone, "vault", "create", path)
	at := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -days).Add(-2 * time.Hour)
	o, err := blockstore.Own(t.Context(), path, blockstore.OwnOptions{MinFree: -1, Clock: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	for range days {
		at = at.AddDate(0, 0, 1)
		for _, m := range machines {
			b, err := o.Begin(t.Context(), blockstore.BackupOptions{Machine: m, Time: at, Asked: blockstore.Filesystem, Reached: blockstore.Filesystem})
			if err == nil {
				err = b.AddDisk(t.Context(), blockstore.DiskInfo{Name: "vda"}, text{strings.NewReader("always the same")}, nil)
			}
			if err == nil {
				_, err = b.Commit(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

func prunes(t *testing.T, o outcome) (all []api.Prune) {
	t.Helper()
	if err := json.Unmarshal([]byte(o.out), &all); err != nil {
		t.Fatalf("%v in %s", err, o.out)
	}
	return all
}

func TestPruningAVaultOf400DaysKeepsWhatThePolicySays(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 400, "web1")
	s.must(exitDone, "prune").says(t, "without a policy, so that all is kept: web1")
	s.must(exitDone, "policy", "set", "nightly", "--machines", "web*,db1", "--schedule", "daily at 22:00", "--timezone", "UTC",
		"--keep-daily", "7", "--keep-weekly", "4", "--keep-monthly", "12", "--trash-days", "3", "--rpo", "12h").says(t, "up to 1d between two runs, more than its RPO")
	// A change that takes more than a fifth waits.
	s.must(exitWarnings, "prune", "--dry-run").says(t, "monthly: past the 12 that are kept")
	s.must(exitWarnings, "prune").says(t, "--confirm does it")
	if p := prunes(t, s.must(exitWarnings, "prune", "--json"))[0]; !p.Waits || p.Pruned != 0 || p.Kept != 400 || len(p.Points) != 400 {
		t.Errorf("waiting: %d pruned, %d kept, %v", p.Pruned, p.Kept, p.Waits)
	}
	p := prunes(t, s.must(exitDone, "prune", "web1", "--confirm", "--json"))[0]
	if p.Kept < 17 || p.Kept > 23 || p.Pruned+p.Kept != 400 || p.Policy != "nightly" {
		t.Errorf("%d pruned, %d kept", p.Pruned, p.Kept)
	}
	if last := p.Points[399]; !last.Keep || !strings.Contains(strings.Join(last.Why, ";"), "the newest good point") {
		t.Errorf("the newest: %+v", last)
	}
	var points []api.Point
	if err := json.Unmarshal([]byte(s.must(exitDone, "points", "--json").out), &points); err != nil || len(points) != p.Kept {
		t.Errorf("%d points are listed, %v", len(points), err)
	}
	var trash []api.Trashed
	if err := json.Unmarshal([]byte(s.must(exitDone, "trash", "--json").out), &trash); err != nil || len(trash) != p.Pruned {
		t.Fatalf("%d points are in the trash, %v", len(trash), err)
	}
	if at := trash[0]; at.DropsOn.Sub(at.Deleted.Time) != 72*time.Hour {
		t.Errorf("%+v", at)
	}
	s.must(exitDone, "prune", "--quiet").says(t, "")
	// It was told by which rules it is pruned: the same ones need nobody, others do.
	s.must(exitDone, "point", "undelete", "web1@"+trash[0].ID)
	s.must(exitDone, "prune").says(t, "1 of")
	s.must(exitDone, "policy", "set", "nightly", "--keep-monthly", "0", "--keep-weekly", "0")
	s.must(exitWarnings, "prune").says(t, "by rules that are new for it")
	s.must(exitDone, "check")
}

func TestPruningStopsWhereTheClockIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 5, "web1")
	s.must(exitDone, "policy", "set", "p", "--machines", "*", "--keep-last", "2")
	path := s.env["HOLDFAST_VAULT"]
	late := time.Now().AddDate(0, 0, 80)
	o, err := blockstore.Own(t.Context(), path, blockstore.OwnOptions{MinFree: -1, Clock: func() time.Time { return late }})
	if err != nil {
		t.Fatal(err)
	}
	points, err := o.Points(t.Context())
	if err == nil {
		err = o.Delete(points[0])
	}
	if err == nil {
		err = o.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	s.must(exitFailed, "prune", "--confirm").says(t, "cannot be believed")
	if n := len(prunes(t, s.must(exitDone, "prune", "--dry-run", "--confirm", "--json"))[0].Points); n != 4 {
		t.Errorf("%d points are left", n)
	}
	s.must(exitDone, "vault", "trust-clock", "--yes")
	s.must(exitDone, "prune", "--confirm").says(t, "2 of 4")
}

func TestPruningPassesOverMachinesThatAreGoneAndThoseOfTwoPolicies(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 10, "web1", "db1", "locked1")
	s.must(exitDone, "policy", "set", "a", "--machines", "*1", "--keep-last", "9")
	image := filepath.Join(t.TempDir(), "db1.raw")
	if err := os.WriteFile(image, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	s.must(exitDone, "protect", "db1", "--disk", "vda="+image)
	if err := os.Remove(image); err != nil {
		t.Fatal(err)
	}
	var first []api.Point
	if err := json.Unmarshal([]byte(s.must(exitDone, "points", "locked1", "--json").out), &first); err != nil {
		t.Fatal(err)
	}
	s.must(exitDone, "point", "lock", "locked1@"+first[0].ID, "--until", "30d")
	o := s.run("prune")
	o.says(t, "db1: passed over, its VM is not on this host")
	o.says(t, "web1 (policy a): 1 of 10 points went to the trash")
	o.says(t, "locked1 (policy a): 0 of 10 points went to the trash")
	s.must(exitDone, "policy", "set", "b", "--machines", "?eb1", "--keep-last", "1")
	s.must(exitDone, "policy", "set", "c", "--machines", "w?b1", "--keep-last", "1")
	s.must(exitWarnings, "prune", "--confirm", "web1").says(t, "belongs to policies b and c alike")
	s.must(exitNotFound, "prune", "web2").says(t, "did you mean web1?")
}

func TestAPolicyIsSetShownPreviewedAndRemoved(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 1, "web1", "x")
	s.must(exitDone, "policy", "list").says(t, "no policies")
	s.must(exitDone, "policy", "set", "nightly", "--machines", "web*", "--schedule", "daily at 22:00", "--timezone", "Europe/Berlin", "--keep-daily", "7").says(t, "without a policy: x")
	s.must(exitDone, "policy", "set", "nightly", "--keep-weekly", "4", "--window", "22:00-6:00", "--consistency", "filesystem")
	s.must(exitDone, "policy", "list").says(t, "daily 7, weekly 4")
	var p api.Policy
	if err := json.Unmarshal([]byte(s.must(exitDone, "policy", "show", "nightly", "--json").out), &p); err != nil || p.Generation != 2 ||
		p.Keep != (api.Keep{Daily: 7, Weekly: 4}) || p.Timezone != "Europe/Berlin" || p.Window != "22:00-06:00" || p.Jitter != 1800 || p.Otherwise != "fall-back" ||
		strings.Join(p.Machines, " ") != "web1" || p.NextRun == nil || !p.NextRun.After(time.Now()) {
		t.Errorf("%+v, %v", p, err)
	}
	s.must(exitDone, "policy", "preview", "nightly", "--days", "400").says(t, "after 400 days: 400 runs")
	var v api.PolicyPreview
	if err := json.Unmarshal([]byte(s.must(exitDone, "policy", "preview", "--schedule", "every 4h", "--keep-last", "3", "--days", "10", "--json").out), &v); err != nil || v.Runs < 59 || len(v.Kept) != 3 || len(v.NextRuns) != 5 {
		t.Errorf("%+v, %v", v, err)
	}
	for line, want := range map[string]string{
		"policy set":                                "NAME is missing",
		"policy set a --schedule dayly":             "--schedule: schedule \"dayly\": it is not understood",
		"policy set a --timezone Mars":              "--timezone: time zone",
		"policy set a --keep-daily=-1":              "keep -1 daily",
		"policy set a --machines a/b":               "--machines",
		"policy set a --otherwise perhaps":          "--otherwise",
		"policy set latest":                         "meaning of its own",
		"policy preview --days 0 --schedule hourly": "choose 1 to",
		"policy preview --keep-last 3":              "no schedule",
		"policy preview nightly --trash-days 99999": "--trash-days",
		"apply":                                 "-f FILE is missing",
		"prune ../x":                            "machine name",
		"policy set a --rpo soon --keep-last 1": "--rpo",
		"policy set a --window 22:00 --schedule hourly": "--window",
	} {
		s.must(exitUsage, strings.Fields(line)...).says(t, want)
	}
	if got := s.must(exitDone, completeWord, "policy", "show", "").out; got != "nightly\n" {
		t.Errorf("completes %q", got)
	}
	s.must(exitNotFound, "policy", "show", "nightl").says(t, "did you mean nightly?")
	s.must(exitDone, "policy", "remove", "nightly")
	s.must(exitNotFound, "policy", "remove", "nightly").says(t, "policy list")
}

const someFile = `# of this host
policies:
  nightly:
    machines: ['*']
    schedule: daily at 22:00
    timezone: Europe/Berlin
    keep: {daily: 7, weekly: 4}
    rpo: 26h
  db:
    machines: [db1, "db*"]
    schedule: every 4h
    jitter: 0s
    keep:
      last: 12
`

func TestAFileOfPoliciesIsAppliedWithADiff(t *testing.T) {
	t.Parallel()
	s := oldVault(t, 1, "web1")
	file := filepath.Join(t.TempDir(), "policies.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(someFile)
	s.must(exitDone, "policy", "set", "old", "--keep-last", "3")
	s.must(exitDone, "apply", "-f", file, "--dry-run").says(t, "+ policy nightly")
	s.must(exitNotFound, "policy", "show", "nightly")
	s.must(exitDone, "apply", "-f", file).says(t, "2 changed, 0 as they were")
	s.must(exitDone, "apply", "-f", file).says(t, "0 changed, 2 as they were")
	write(strings.Replace(someFile, "daily: 7", "daily: 14", 1))
	o := s.must(exitDone, "apply", "-f", file, "--remove-others", "--dry-run")
	o.says(t, "keep: daily 7, weekly 4 -> daily 14, weekly 4")
	o.says(t, "- policy old")
	var changes []api.PolicyChange
	if err := json.Unmarshal([]byte(s.must(exitDone, "apply", "-f", file, "--remove-others", "--json").out), &changes); err != nil || len(changes) != 3 {
		t.Errorf("%+v, %v", changes, err)
	}
	s.must(exitNotFound, "policy", "show", "old")
	for _, c := range []struct{ from, to, want string }{
		{"schedule: every", "shedule: every", `line 11: unknown field "shedule"`},
		{"daily: 7", "dialy: 7", `line 7: unknown field "dialy"`},
		{"every 4h", "every 4x", `line 11: policy "db": schedule:`},
		{"Europe/Berlin", "Europe/Bremen", `line 6: policy "nightly": timezone:`},
		{"last: 12", "last: many", "line 14:"},
		{"  db:", "  nightly:", "line 9:"},
		{"policies:", "polices:", "line 2: unknown field"},
		{"  db:", "  la test:", `line 9: policy "la test"`},
		{"[db1, \"db*\"]", "&a [*a]", "line"},
		{"['*']", "[a/b]", `line 4: policy "nightly": machines:`},
		{someFile, "", "it is empty"},
		{someFile, "policies: [", "line"},
		{someFile, "policies:\n", "missing"},
		{someFile, strings.Repeat("#", 2<<20), "at most"},
	} {
		write(strings.Replace(someFile, c.from, c.to, 1))
		s.must(exitUsage, "apply", "-f", file).says(t, c.want)
	}
	s.must(exitNotFound, "apply", "-f", file+".not")
	if got := fmt.Sprint(s.must(exitDone, "policy", "list", "--json").out); !strings.Contains(got, `"daily": 14`) {
		t.Errorf("a file that was refused changed something: %s", got)
	}
}

// The file in `holdfast apply --help` is one, and has every key that a policy can have.
func TestTheHelpOfApplyShowsEveryKeyOfAPolicy(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(applyCommand(&console{}).Description, "\n\n")
	if _, err := service.ReadPolicies([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[service.PolicyText]()) {
		if key := f.Tag.Get("yaml"); !strings.Contains(text, "    "+key+": ") {
			t.Errorf("the key %s is not shown", key)
		}
	}
}
