package service

import (
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
)

const aFile = `policies:
  nightly: {machines: ['*'], schedule: daily at 22:00, timezone: Europe/Berlin, window: "22:00-06:00", keep: {last: 3, daily: 7}}
  db:
    machines: [db1, "db*"]
    schedule: "0 */4 * * *"
    jitter: 0s
    max-duration: 90m
    consistency: application
    otherwise: fail
    keep:
      last: 12
    trash-days: 3
    rpo: 6h
    libvirt-tag: gold
    retries: 0
    priority: 10
    read-rate: 100MiB/s
    write-rate: 1500
    verify-percent: 2.5
`

func TestAPolicyIsReadAsItIsWritten(t *testing.T) {
	t.Parallel()
	got, err := ReadPolicies([]byte(aFile))
	want := []blockstore.Policy{
		{Name: "db", Machines: []string{"db1", "db*"}, Schedule: "0 */4 * * *", Limit: 5400, Consistency: blockstore.Application, Keep: blockstore.Keep{Last: 12}, TrashDays: 3, RPO: 6 * 3600,
			Tag: "gold", Retries: -1, Priority: 10, ReadRate: 100 << 20, WriteRate: 1500, Verify: 2.5},
		{Name: "nightly", Machines: []string{"*"}, Schedule: "daily at 22:00", Zone: "Europe/Berlin", Window: "22:00-06:00", Jitter: 1800, FallBack: true, Keep: blockstore.Keep{Last: 3, Daily: 7}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, p := range got {
		again, err := TextOf(p).Policy(p.Name)
		if err != nil || !reflect.DeepEqual(again, p) || len(diffPolicy(p, again)) != 0 {
			t.Errorf("%+v is %+v when it is written and read again, %v", p, again, err)
		}
	}
}

func TestAllThatIsWrongInAFileIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	bad := strings.NewReplacer("0 */4", "99 */4", "6h", "6x", "Europe", "Atlantis", "{last: 3", "{last: -3", "gold", "old and gold", "retries: 0", "retries: -1", "priority: 10", "priority: 101", "100MiB", "100MB", "2.5", "200").Replace(aFile)
	_, err := ReadPolicies([]byte(bad))
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{`line 5: policy "db": schedule:`, `line 13: policy "db": rpo:`, `line 2: policy "nightly": timezone:`, `line 2: policy "nightly": keep:`,
		`line 14: policy "db": libvirt-tag:`, `line 15: policy "db": retries:`, `line 16: policy "db": priority:`, `line 17: policy "db": read-rate:`, `line 19: policy "db": verify-percent:`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in %v", want, err)
		}
	}
}

func FuzzAFileOfPoliciesIsReadOrRefused(f *testing.F) {
	f.Add(aFile)
	f.Add("policies: {a: {machines: [*x], keep: 3}}")
	f.Add("policies:\n  a: &b\n    <<: *b\n")
	f.Add("---\n- 1\n---\n")
	f.Add("policies: null")
	f.Fuzz(func(t *testing.T, text string) {
		policies, err := ReadPolicies([]byte(text))
		if err != nil {
			return
		}
		for _, p := range policies {
			if err := p.Check(); err != nil {
				t.Errorf("%+v: %v", p, err)
			}
		}
	})
}
