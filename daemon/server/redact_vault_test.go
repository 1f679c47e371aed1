package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// telling has vaults and a status that tell of paths and command lines wherever they can.
type telling struct {
	*fake
	fails bool
}

const (
	secretPath    = "/srv/the vaults/main"
	secretCommand = "holdfast backup db1 --disk vda=(/images/db1) since x, and more)"
)

// secretBusy are the errors of a vault that another process has, in the words of blockstore.BusyError, which a test there
// holds still.
var secretBusy = []string{
	"vault " + secretPath + " is in use by pid 4711 (" + secretCommand + ") since 2026-11-22T22:00:05Z; that process is stopped",
	"vault " + secretPath + " belongs to host kvm2 (writer w1, last opened at 2026-11-22T22:00:05Z by pid 4711, " + secretCommand + ")",
	"vault " + secretPath + " was taken over by host kvm2 (pid 4711, " + secretCommand + ") at 2026-11-22T22:00:05Z",
}

func (t telling) Vaults(context.Context) ([]api.VaultInfo, error) {
	v := exampleVault
	v.Path, v.CopyOf = secretPath, "/srv/original"
	v.Owner = &api.Owner{Writer: "w1", Host: "kvm2", PID: 4711, Command: secretCommand, Opened: exampleTime}
	if t.fails {
		return []api.VaultInfo{v}, fmt.Errorf("add up the files of vault %s: %w", "/srv/broken", errors.New("permission denied"))
	}
	return []api.VaultInfo{v}, nil
}

func (t telling) Status(ctx context.Context, q api.StatusQuery) (api.Status, error) {
	st, err := t.fake.Status(ctx, q)
	twin := st.Vaults[0]
	twin.ID, twin.Path, twin.Name = "v0002", secretPath+"2", secretPath+"2" // called as another is
	st.Vaults = []api.VaultStatus{st.Vaults[0], twin}
	v := &st.Vaults[0]
	v.Path, v.Problem = secretPath, "open vault "+secretPath+": permission denied"
	for _, busy := range secretBusy {
		v.Warnings = append(v.Warnings, "waits: "+busy)
	}
	v.Reasons = []string{"open " + secretPath + "/points: no such file", "write '/var/lib/holdfast/jobs/a': no space"}
	st.Reasons = append(st.Reasons, "vault main: "+v.Reasons[0], "vault "+twin.Name+": full")
	st.VMs = []api.UnprotectedVM{{PID: 7, Ignore: []string{"disk:/images/stray"}}}
	for i := range st.Machines {
		if st.Machines[i].Name == "web2" {
			st.Machines[i].Vault = twin.Name
		}
	}
	return st, err
}

func (t telling) Usage(ctx context.Context, vault string, q api.UsageQuery) (api.Usage, error) {
	u, err := t.fake.Usage(ctx, vault, q)
	u.Vault.Path = secretPath
	return u, err
}

func TestWhoMayOnlySeePartOfAVaultIsNotToldWhereItLiesAndWhoWritesIntoIt(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	st.c.Operations, st.c.Watching = telling{fake: st.fake}, telling{fake: st.fake}
	secrets := []string{"/srv", "the vaults", "4711", "--disk", "/images", "/var/lib"}
	for _, path := range []string{"/vaults", "/status", "/vaults/main/usage"} {
		for role, globs := range map[string]string{"viewer": "*", "restorer": "web*", "admin": "web1"} {
			w := st.ask(st.secret(t, role, globs), http.MethodGet, base+path, "")
			for _, s := range secrets {
				if w.Code != 200 || strings.Contains(w.Body.String(), s) {
					t.Errorf("%s tells a %s of %s of %s: %d %s", path, role, globs, s, w.Code, w.Body)
				}
			}
			if !strings.Contains(w.Body.String(), `"name":"main"`) || !strings.Contains(w.Body.String(), exampleVault.ID) {
				t.Errorf("%s does not tell a %s of %s which vault it is: %s", path, role, globs, w.Body)
			}
		}
		if w := st.ask(st.secret(t, "restorer", "*"), http.MethodGet, base+path, ""); !strings.Contains(w.Body.String(), secretPath) {
			t.Errorf("%s does not tell a restorer of all machines of %s: %s", path, secretPath, w.Body)
		}
	}
	vaults := get[[]api.VaultInfo](t, st, st.secret(t, "viewer", "*"), "/vaults")
	if o := vaults[0].Owner; o == nil || o.Host != "kvm2" || o.Opened != exampleTime || vaults[0].Points != exampleVault.Points {
		t.Errorf("a viewer sees %+v of %+v", o, vaults[0])
	}
	if v := get[[]api.VaultInfo](t, st, st.secret(t, "admin", "*"), "/vaults")[0]; v.Owner.Command != secretCommand || v.Owner.PID != 4711 || v.CopyOf == "" {
		t.Errorf("an admin sees %+v", v)
	}
}

func TestAStatusWithoutPathsSaysStillWhatIsWrong(t *testing.T) {
	t.Parallel()
	st := newSite(t, nil)
	st.c.Operations, st.c.Watching = telling{fake: st.fake}, telling{fake: st.fake}
	s := get[api.Status](t, st, st.secret(t, "viewer", "*"), "/status")
	opened := exampleTime.UTC().Format("2006-01-02T15:04:05Z")
	for i, want := range []string{
		"waits: vault main is in use by another process since " + opened + "; that process is stopped",
		"waits: vault main belongs to host kvm2 (writer w1, last opened at " + opened + ")",
		"waits: vault main was taken over by host kvm2 at " + opened,
	} {
		if got := s.Vaults[0].Warnings[i]; got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if got := strings.Join(append(s.Vaults[0].Reasons, s.Vaults[0].Problem), "; "); got != "open main/points: no such file; write '[path]': no space; open vault main: permission denied" {
		t.Errorf("reasons are %q", got)
	}
	if s.Vaults[1].Name != "v0002" || s.Reasons[2] != "vault v0002: full" || s.Machines[1].Vault != "v0002" || s.Machines[0].Vault != "main" {
		t.Errorf("the vault that is called as another is: %+v, %q, %+v", s.Vaults[1], s.Reasons, s.Machines[1])
	}
	st.c.Operations = telling{st.fake, true}
	for role, hidden := range map[string]bool{"viewer": true, "admin": false} {
		p := aProblem(t, st.ask(st.secret(t, role), http.MethodGet, base+"/vaults", ""), 500, 1)
		if !strings.Contains(p.Detail, "permission denied") || strings.Contains(p.Detail, "/srv") == hidden {
			t.Errorf("a %s is told %q", role, p.Detail)
		}
	}
}

// echo are operations whose errors name the machine as it was given.
type echo struct{ *fake }

func (e echo) err(machine string) error {
	return &api.Problem{Status: 404, Exit: 6, Detail: "machine " + machine + ": not found", Hint: "`holdfast points " + machine + "` lists what there is"}
}

func (e echo) Points(_ context.Context, _, machine string) ([]api.Point, error) {
	return nil, e.err(machine)
}

func (e echo) ReleaseMachine(_ context.Context, _, machine string) (api.MachineHold, error) {
	return api.MachineHold{}, e.err(machine)
}

func (e echo) GuestFile(_ context.Context, at api.GuestAt) (api.GuestFile, error) {
	return api.GuestFile{}, e.err(at.Machine)
}

func (e echo) GuestContent(_ context.Context, at api.GuestAt, _ string, _ func(context.Context, api.GuestContent) error) error {
	return e.err(at.Machine)
}

func (e echo) GuestHistory(_ context.Context, q api.HistoryQuery, _ func(done, total int64)) (api.FileHistory, error) {
	return api.FileHistory{}, e.err(q.Machine)
}

func TestAnErrorCallsAMachineAsTheCallerKnowsIt(t *testing.T) {
	t.Parallel()
	st := newSite(t, func(c *Config) {
		e := echo{c.Operations.(*fake)}
		c.Operations, c.Files = e, e
		c.ReadConfig = func(_ context.Context, _, machine, _, _ string) ([]byte, error) { return nil, e.err(machine) }
		c.OpenDisk = func(_ context.Context, _, machine, _, _ string) (Disk, error) { return nil, e.err(machine) }
		c.CompareDisk = func(_ context.Context, _ string, a, b api.PointRef, _ string, _ func(api.Range) error) error {
			return e.err(a.Machine + " and " + b.Machine)
		}
	})
	some := st.secret(t, "operator", "web*")
	for _, row := range []struct{ method, path string }{
		{"GET", "/vaults/main/points?machine=web1"},
		{"POST", "/vaults/main/machines/web1/release"},
		{"GET", "/vaults/main/machines/web1/points/latest/config/domain.xml"},
		{"GET", "/vaults/main/machines/web1/points/latest/disks/vda"},
		{"GET", "/vaults/main/machines/web1/points/latest/files/stat?path=/etc/passwd"},
		{"GET", "/vaults/main/machines/web1/points/latest/files/content?path=/etc/passwd"},
		{"GET", "/vaults/main/machines/web1/history?path=/etc/passwd"},
		{"GET", "/vaults/main/machines/web1/points/p1/disks/vda/diff?machine=web2&point=p2"},
	} {
		said := st.ask(some, row.method, base+row.path, "").Body.String()
		if strings.Contains(said, "id-web") || !strings.Contains(said, "machine web1") || !strings.Contains(said, "`holdfast points web1") {
			t.Errorf("%s %s: %s", row.method, row.path, said)
		}
	}
	for _, e := range st.entries(t) {
		if strings.Contains(e.Detail, "id-web") {
			t.Errorf("the audit log says %q", e.Detail)
		}
	}
	if got := calledBy("machine 0a and p0a0a, 0a", "0a", "web1"); got != "machine web1 and p0a0a, web1" {
		t.Errorf("%q", got)
	}
}
