package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// get asks as a token and decodes the answer.
func get[T any](t *testing.T, st *site, secret, path string) T {
	t.Helper()
	w := st.ask(secret, http.MethodGet, base+path, "")
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != 200 {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	return v
}

func namesOf[T any](list []T, name func(T) string) string {
	var names []string
	for _, v := range list {
		names = append(names, name(v))
	}
	return strings.Join(names, " ")
}

func TestListsHoldWhatTheCallerMaySeeAndNoMore(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	for _, row := range []struct {
		globs []string
		want  string
	}{{[]string{"*"}, "web1 web2 db1"}, {[]string{"web*"}, "web1 web2"}, {[]string{"db1", "x?"}, "db1"}, {[]string{"nothing"}, ""}} {
		s := st.secret(t, "viewer", row.globs...)
		for what, got := range map[string]string{
			"machines": namesOf(get[[]api.Machine](t, st, s, "/vaults/main/machines"), func(m api.Machine) string { return m.Name }),
			"points":   namesOf(get[[]api.Point](t, st, s, "/vaults/main/points"), func(p api.Point) string { return p.Machine }),
			"trash":    namesOf(get[[]api.Trashed](t, st, s, "/vaults/main/trash"), func(p api.Trashed) string { return p.Machine }),
			"prune":    namesOf(get[[]api.Prune](t, st, s, "/vaults/main/prune"), func(p api.Prune) string { return p.Machine }),
			"jobs":     namesOf(get[[]api.Job](t, st, s, "/jobs"), func(j api.Job) string { return j.Machine }),
			"status":   namesOf(get[api.Status](t, st, s, "/status").Machines, func(m api.MachineStatus) string { return m.Name }),
			"usage":    namesOf(get[api.Usage](t, st, s, "/vaults/main/usage").Months[0].Machines, func(m api.MachineUsage) string { return m.Machine }),
			"policies": strings.Join(get[[]api.Policy](t, st, s, "/vaults/main/policies")[0].Machines, " "),
		} {
			if got != row.want {
				t.Errorf("%s with a grant for %v: %q, not %q", what, row.globs, got, row.want)
			}
		}
	}
}

func TestAPolicyNamesNoMachineThatTheCallerMayNotSee(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	st.c.Operations = payroll{st.fake}
	for globs, want := range map[string]string{"*": "web* payroll db?", "web*": "web* db?", "p*": "web* payroll db?"} {
		if got := strings.Join(get[[]api.Policy](t, st, st.secret(t, "viewer", globs), "/vaults/main/policies")[0].Globs, " "); got != want {
			t.Errorf("a viewer of %s sees that a policy is for %s, not %s", globs, got, want)
		}
	}
}

// payroll has a policy that names a machine.
type payroll struct{ *fake }

func (payroll) Policies(context.Context, string) ([]api.Policy, error) {
	p := examplePolicy
	p.Globs = []string{"web*", "payroll", "db?"}
	return []api.Policy{p}, nil
}

func TestAStatusIsOfWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	for globs, risk := range map[string]bool{"*": true, "web*": false, "db*": true} {
		s := st.secret(t, "viewer", globs)
		got := get[api.Status](t, st, s, "/status")
		if got.AtRisk != risk || (len(got.VMs) > 0) != (globs == "*") || (len(got.Reasons) > 0) != (globs == "*") {
			t.Errorf("with a grant for %s: at risk %v for %v, and %d VMs", globs, got.AtRisk, got.Reasons, len(got.VMs))
		}
		if u := get[api.Usage](t, st, s, "/vaults/main/usage").Months[0]; u.Instances != len(u.Machines) {
			t.Errorf("with a grant for %s: %d instances of %d machines", globs, u.Instances, len(u.Machines))
		}
	}
}

func TestAnOldNameOfAMachineGivesNobodyItsPoints(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	// Once, db1 was called web1: its points say so still, its id does not.
	old := fakePoint("db1")
	old.Machine = "web1"
	st.c.Operations = renamed{st.fake, old}
	w := st.ask(st.secret(t, "viewer", "web*"), "GET", base+"/vaults/main/points", "")
	if strings.Contains(w.Body.String(), old.ID) {
		t.Errorf("a grant for web* shows a point of db1: %s", w.Body)
	}
	if got := get[[]api.Point](t, st, st.secret(t, "viewer", "db*"), "/vaults/main/points"); len(got) != 1 || got[0].ID != old.ID {
		t.Errorf("a grant for db* shows %v", got)
	}
}

func TestAnOperationOfACallerWithSomeMachinesIsGivenTheMachinesID(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	some, all := st.secret(t, "admin", "web1"), st.secret(t, "admin")
	for _, row := range []struct{ method, path, body, want string }{
		{"GET", "/vaults/main/points?machine=web1", "", "id-web1"},
		{"POST", "/vaults/main/machines/web1/release", "", "id-web1"},
		{"POST", "/vaults/main/points/change", `{"change":"lock","points":[{"machine":"web1","point":"latest"}]}`, "id-web1"},
		{"POST", "/jobs", `{"kind":"backup","vault":"main","machine":"id-web1"}`, "Machine:web1"},
		{"POST", "/jobs", `{"kind":"check","vault":"main","machine":"web1","check":{"point":"latest"}}`, "Machine:id-web1"},
	} {
		if w := st.ask(some, row.method, base+row.path, row.body); w.Code != 200 || !strings.Contains(fmt.Sprintf("%+v", st.fake.last), row.want) {
			t.Errorf("%s %s: %d, given %+v", row.path, row.body, w.Code, st.fake.last)
		}
		st.ask(all, row.method, base+row.path, row.body)
		if strings.Contains(fmt.Sprintf("%+v", st.fake.last), row.want) {
			t.Errorf("%s %s of a caller with all machines was given %+v", row.path, row.body, st.fake.last)
		}
	}
}

func TestAJobThatConcernsMoreThanItsMachineTakesMoreThanAGrantForIt(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	some, all := st.secret(t, "admin", "web1"), st.secret(t, "admin")
	point := `{"machine":"web1","point":"latest"}`
	for body, mine := range map[string]bool{
		`"kind":"backup","machine":"web1"`:                               true,
		`"kind":"backup","machine":"web2"`:                               false,
		`"kind":"backup"`:                                                false,
		`"kind":"restore","machine":"web1","restore":{"point":"latest"}`: true,
		`"kind":"restore","machine":"db1","restore":{"point":"latest"}`:  false,
		`"kind":"check","machine":"web1","check":{"point":"latest"}`:     true,
		`"kind":"check","machine":"web1"`:                                false,
		`"kind":"check","machine":"web1","check":{"data":true}`:          false,
		`"kind":"sweep"`:                                                false,
		`"kind":"sweep","machine":"web1"`:                               false,
		`"kind":"sweep","prune":{"machines":["web1"]}`:                  false,
		`"kind":"sweep","empty_trash":{"points":[` + point + `]}`:       false,
		`"kind":"prune"`:                                                false,
		`"kind":"prune","machine":"web1"`:                               false,
		`"kind":"prune","prune":{"machines":["web1"]}`:                  true,
		`"kind":"prune","prune":{"machines":["web1","web2"]}`:           false,
		`"kind":"prune","machine":"db1","prune":{"machines":["web1"]}`:  false,
		`"kind":"empty-trash"`:                                          false,
		`"kind":"empty-trash","machine":"web1"`:                         false,
		`"kind":"empty-trash","empty_trash":{"points":[` + point + `]}`: true,
		`"kind":"empty-trash","empty_trash":{"points":[` + point + `,{"machine":"web2","point":"latest"}]}`: false,
	} {
		want := map[bool]int{true: 200, false: 403}[mine]
		if w := st.ask(some, "POST", base+"/jobs", `{"vault":"main",`+body+`}`); w.Code != want {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		if w := st.ask(all, "POST", base+"/jobs", `{"vault":"main",`+body+`}`); w.Code != 200 {
			t.Errorf("%s, with a grant for all: %d %s", body, w.Code, w.Body)
		}
	}
	sweep := fakeJob("web1")
	sweep.Kind = api.JobSweep
	st.c.Operations = ownJob{st.fake, sweep}
	aProblem(t, st.ask(some, "POST", base+"/jobs/j-web1/cancel", ""), 403, 8)
	aProblem(t, st.ask(some, "POST", base+"/jobs/j-web1/retry", ""), 403, 8)
	sweep.By = "token:t0-admin"
	st.c.Operations = ownJob{st.fake, sweep}
	if w := st.ask(some, "POST", base+"/jobs/j-web1/cancel", ""); w.Code != 200 {
		t.Errorf("who asked for a job cannot cancel it: %s", w.Body)
	}
	aProblem(t, st.ask(some, "POST", base+"/jobs/j-web1/retry", ""), 403, 8)
}

func TestAMachineWhoseNameIsAnothersIDIsNobodys(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	twin := fakeMachine("db1")
	twin.Name = "id-web1"
	st.c.Operations = twins{st.fake, twin}
	w := st.ask(st.secret(t, "operator", "*1"), "POST", base+"/vaults/main/machines/id-web1/release", "")
	aProblem(t, w, 403, 8)
}

// renamed has other points than its fake, twins another machine besides.
type renamed struct {
	*fake
	point api.Point
}

type twins struct {
	*fake
	machine api.Machine
}

func TestAViewerSeesNoNamesOfFiles(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	viewer, restorer := st.secret(t, "viewer"), st.secret(t, "restorer")
	both := st.secret(t, "viewer")
	if _, err := st.store.Grant(api.GrantRequest{Who: "token:t0-viewer", Role: "restorer", Machines: []string{"db1"}}, "the test"); err != nil {
		t.Fatal(err)
	}
	secrets := []string{"/var/lib/libvirt", "domain.xml", "qemu:///system", `"result"`, "/images/web1"}
	for _, path := range []string{"/vaults/main/machines", "/vaults/main/points?machine=web1", "/vaults/main/trash", "/jobs", "/jobs/j-web1", "/jobs/j-web1/events"} {
		seen, shown := st.ask(viewer, "GET", base+path, "").Body.String(), st.ask(restorer, "GET", base+path, "").Body.String()
		hidden := 0
		for _, s := range secrets {
			if strings.Contains(seen, s) && !strings.Contains(path, "machines") && !strings.Contains(path, "trash") && path != "/jobs" {
				t.Errorf("%s shows a viewer %s", path, s)
			}
			if strings.Contains(shown, s) {
				hidden++
			}
		}
		if hidden == 0 {
			t.Errorf("%s shows a restorer nothing that it hides: %s", path, shown)
		}
	}
	for _, m := range get[[]api.Machine](t, st, both, "/vaults/main/machines") {
		if (m.Protection.URI != "") != (m.Name == "db1") {
			t.Errorf("with names of files for db1 alone, %s shows %q", m.Name, m.Protection.URI)
		}
	}
	for _, p := range get[[]api.Trashed](t, st, both, "/vaults/main/trash") {
		if (p.Disks[0].Source != "") != (p.Machine == "db1") || (len(p.Config) > 0) != (p.Machine == "db1") {
			t.Errorf("with names of files for db1 alone, the trash shows of %s %+v", p.Machine, p.Disks)
		}
	}
	if !slices.Contains(secrets, "domain.xml") || examplePoint.Config[0].Name != "domain.xml" {
		t.Error("leaving names out changed what they were left out of")
	}
}

func TestWhoAskedForAJobSeesIt(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	st.secret(t, "viewer", "nothing") // token t0-viewer
	j := fakeJob("web1")
	j.By = "token:t0-viewer"
	st.c.Operations = ownJob{st.fake, j}
	if got := get[api.Job](t, st, st.secret(t, "viewer", "nothing"), "/jobs/j-web1"); got.ID != j.ID || got.Result != nil {
		t.Errorf("it sees %+v", got)
	}
}

type ownJob struct {
	*fake
	job api.Job
}

func TestNobodyLearnsWhetherThereIsAMachineThatItMayNotSee(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	viewer := st.secret(t, "viewer", "web*")
	for _, path := range []string{"/status?machine=%s", "/vaults/main/usage?machine=%s", "/vaults/main/points?machine=%s", "/vaults/main/prune?machine=%s"} {
		var said [2]string
		for i, machine := range []string{"db1", "db2"} { // there is no db2
			w := st.ask(viewer, "GET", base+fmt.Sprintf(path, machine), "")
			if w.Code != http.StatusForbidden {
				t.Errorf("%s of %s: %d %s", path, machine, w.Code, w.Body)
			}
			said[i] = strings.ReplaceAll(w.Body.String(), machine, "M")
		}
		if said[0] != said[1] {
			t.Errorf("%s tells them apart:\n%s%s", path, said[0], said[1])
		}
		if w := st.ask(viewer, "GET", base+fmt.Sprintf(path, "web1"), ""); w.Code != 200 {
			t.Errorf("%s of what it may see: %d %s", path, w.Code, w.Body)
		}
	}
	for _, m := range get[api.Status](t, st, st.secret(t, "viewer"), "/status?machine=db1").Machines {
		if m.Name != "db1" {
			t.Errorf("who may see all sees %s", m.Name)
		}
	}
}
