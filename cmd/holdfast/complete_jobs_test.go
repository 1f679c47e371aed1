package main

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/service"
)

// TestTabOffersJobsAndNeverWaitsForADaemonThatIsSilent asks one that answers, one that does not, and the folder
// in which the last one kept its jobs.
func TestTabOffersJobsAndNeverWaitsForADaemonThatIsSilent(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.through(exitDone, "check", "--quiet")
	h.through(exitNotFound, "check", "--data", "web1@p0000000000000000", "--quiet")
	offered := func(words ...string) []string {
		t.Helper()
		o := h.through(exitDone, append([]string{completeWord}, words...)...)
		if o.err != "" {
			t.Errorf("%q says %q", words, o.err)
		}
		return strings.Fields(o.out)
	}
	var all []struct{ ID, State string }
	h.decode(&all, "jobs", "--json")
	var ids, again []string
	for _, j := range all {
		if ids = append(ids, j.ID); j.State != "completed" {
			again = append(again, j.ID)
		}
	}
	slices.Sort(ids)
	if len(ids) < 2 || len(again) == 0 || len(again) == len(ids) {
		t.Fatalf("%+v", all)
	}
	asked := func(whom string) {
		t.Helper()
		if got := offered("job", "show", ""); !slices.Equal(got, ids) {
			t.Errorf("%s: %q is offered, there are %q", whom, got, ids)
		}
		if got := offered("job", "show", ids[0]); !slices.Equal(got, ids[:1]) {
			t.Errorf("%s: %q is offered for %s", whom, got, ids[0])
		}
		if got := offered("job", "cancel", ""); len(got) > 0 {
			t.Errorf("%s: %q can be cancelled", whom, got)
		}
	}
	asked("a daemon")
	if got := offered("job", "retry", ""); !slices.Equal(got, again) {
		t.Errorf("%q can be tried again, and should be %q", got, again)
	}
	run := t.TempDir()
	h.env["HOLDFAST_RUN"] = run
	asked("nobody")
	silent, err := net.Listen("unix", filepath.Join(run, service.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	asked("a daemon that hangs")
	if got := offered("job", "retry", ""); len(got) > 0 {
		t.Errorf("%q can be tried again by nobody", got)
	}
}
