package status

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/policy"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// ago is a good point of so long ago.
func ago(d time.Duration) Point {
	at := now.Add(-d)
	return Point{Point: policy.Point{ID: "p" + d.String(), Time: at, Reached: policy.Filesystem, Disks: []policy.Disk{{Name: "vda", Source: "/vda"}}}, Committed: at, Asked: policy.Filesystem,
		Sizes: api.Sizes{Logical: 10 << 30, Protected: 4 << 30, Stored: 1 << 20}}
}

// healthy is a machine with nothing wrong with it.
func healthy() MachineFacts {
	return MachineFacts{
		Machine: api.Machine{ID: "0011223344556677", Name: "web1", Protected: true, State: "running", Protection: &api.Protection{Since: api.At(now.AddDate(0, -3, 0))}},
		Policy:  &api.Policy{Name: "nightly", RPO: 26 * 3600, Consistency: "filesystem"},
		Points:  []Point{ago(48 * time.Hour), ago(24 * time.Hour)},
		VM:      &api.FoundVM{Name: "web1", Disks: []api.VMDisk{{Name: "vda", Source: "/vda"}}},
	}
}

func wellVault(machines ...MachineFacts) VaultFacts {
	return VaultFacts{Vault: api.Vault{ID: "aa", Name: "v", Path: "/srv/v"}, Machines: machines, Policies: 1, Packs: 1 << 30, Unique: 2 << 30, Free: 800 << 30, Size: 1 << 40, Floor: 50 << 30,
		Sweep: now.Add(-24 * time.Hour), Check: now.Add(-24 * time.Hour)}
}

func TestAMachineIsAtRiskForAReason(t *testing.T) {
	t.Parallel()
	failed := &api.Job{State: api.JobFailed, Ended: maybe(now.Add(-time.Hour)), Error: &api.Problem{Detail: "the vault is full"}}
	refused := &api.Job{State: api.JobFailed, Ended: failed.Ended, Error: &api.Problem{Detail: "hands off", Kind: api.KindMachineHeld}}
	held := api.At(now.Add(time.Hour))
	for _, c := range []struct {
		name    string
		change  func(*MachineFacts, *VaultFacts, *Facts)
		risk    string // "": none
		warning string
	}{
		{"all is well", func(*MachineFacts, *VaultFacts, *Facts) {}, "", ""},
		{"the point is too old", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points = []Point{ago(27 * time.Hour)} }, "RPO missed: its newest good point is 1d3h old, at most 1d2h are allowed", ""},
		{"exactly as old as allowed", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points = []Point{ago(26 * time.Hour)} }, "", ""},
		{"nobody said how old", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Policy.RPO = 0
			m.Points = []Point{ago(9000 * time.Hour)}
		}, "", ""},
		{"the newest is damaged, and the one before too old", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points[1].Damaged = true }, "RPO missed", "not good: damaged"},
		{"the newest is not consistent enough", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points[1].Reached = policy.Crash }, "RPO missed", "not good: crash, not filesystem"},
		{"less was reached than asked, and the policy is content", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Policy.Consistency, m.Points[1].Reached, m.Points[1].Reason = "", policy.Crash, "no agent"
		}, "", "crash, filesystem was asked for (no agent)"},
		{"a disk is missing", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points[1].Disks = nil }, "RPO missed", "disk vda is missing"},
		{"an excluded disk is not missed", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Points[1].Disks, m.Machine.Protection.Exclude = nil, []string{"vda"}
			m.VM.Disks = nil
		}, "", ""},
		{"the newest is in the trash", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points[1].Deleted = now }, "RPO missed", ""},
		{"no point, and it is new", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Points, m.Machine.Protection.Since = nil, api.At(now.Add(-time.Hour))
		}, "", "no good point yet"},
		{"no point for long", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Points = nil }, "no good point", ""},
		{"no point, no objective, new", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Points, m.Policy.RPO, m.Machine.Protection.Since = nil, 0, api.At(now.Add(-23*time.Hour))
		}, "", "no good point yet"},
		{"it fell out of every policy", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Policy = nil }, "UNPROTECTED since 2026-11-22T12:00:00Z: no policy covers it", ""},
		{"and nobody minds", func(m *MachineFacts, _ *VaultFacts, f *Facts) { m.Policy = nil; f.Ignored = []string{"web1"} }, "", ""},
		{"it was unprotected by hand", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Machine.Protected = false }, "cannot back it up", ""},
		{"backed up by hand, where there are no policies", func(m *MachineFacts, v *VaultFacts, _ *Facts) { m.Policy, v.Policies = nil, 0 }, "", "no policy says when"},
		{"two policies", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Policy, m.Ambiguous = nil, "a and b" }, "policies a and b claim it alike", ""},
		{"the last run failed, in time", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Job = failed }, "", "its last backup failed: the vault is full"},
		{"the last run failed, and nobody set an objective", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Job, m.Policy.RPO = failed, 0 }, "its last backup failed", ""},
		{"the last run was refused by a hold", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Job, m.Policy.RPO = refused, 0 }, "", "its last backup failed: hands off"},
		{"a run failed before the last point", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Job, m.Points = failed, append(m.Points, ago(time.Minute))
		}, "", ""},
		{"the last run warned", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.Job = &api.Job{State: api.JobWarnings, Warnings: []string{"one", "two"}}
		}, "", "warned: one (and 1 more)"},
		{"it is gone", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Machine.State = "GONE (migrated?)" }, "", "VM: GONE (migrated?)"},
		{"it is held", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Machine.HeldUntil = &held }, "", "HELD until 2026-11-23T13:00:00Z"},
		{"a new disk", func(m *MachineFacts, _ *VaultFacts, _ *Facts) {
			m.VM.Disks = append(m.VM.Disks, api.VMDisk{Name: "vdb", Source: "/vdb"}, api.VMDisk{Name: "hdc", LeftOut: "a CD-ROM"})
		}, "", "disk vdb of the VM is in no point yet"},
		{"a disk that went", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.VM.Disks = nil }, "", "disk vda is missing since the last point"},
		{"a disk of another name is the same", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.VM.Disks[0].Name = "sda" }, "", ""},
		{"a run was missed", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Due = now.Add(-3 * time.Hour) }, "", "a run was due at 2026-11-23T09:00:00Z"},
		{"a run is late, within reason", func(m *MachineFacts, _ *VaultFacts, _ *Facts) { m.Due = now.Add(-time.Hour) }, "", ""},
	} {
		f, m, v := Facts{Now: now, Host: "h"}, healthy(), wellVault()
		c.change(&m, &v, &f)
		v.Machines = []MachineFacts{m}
		f.Vaults = []VaultFacts{v}
		s := Compose(f)
		holds(t, c.name+", risk", s.Reasons, c.risk)
		holds(t, c.name+", warning", s.Warnings, c.warning)
		if got := s.Machines[0]; got.AtRisk != (c.risk != "") || s.AtRisk != got.AtRisk {
			t.Errorf("%s: at risk %v, %v", c.name, got.AtRisk, s.AtRisk)
		}
	}
}

// holds wants one text with want in it, or none.
func holds(t *testing.T, name string, texts []string, want string) {
	t.Helper()
	if want == "" && len(texts) > 0 || want != "" && !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, want) }) {
		t.Errorf("%s: %q, want %q", name, texts, want)
	}
}

func TestAVaultIsAtRiskForAReason(t *testing.T) {
	t.Parallel()
	daily := func(n int, stored int64) (points []Point) {
		for i := n; i >= 0; i-- {
			p := ago(time.Duration(i) * 24 * time.Hour)
			p.Sizes.Stored = stored
			points = append(points, p)
		}
		return points
	}
	for _, c := range []struct {
		name          string
		change        func(*VaultFacts)
		risk, warning string
	}{
		{"all is well", func(*VaultFacts) {}, "", ""},
		{"it is full", func(v *VaultFacts) { v.Free = 49 << 30 }, "it is full: 49 GiB free", ""},
		{"it is full in three days", func(v *VaultFacts) { v.Free = 80 << 30; v.Machines[0].Points = daily(40, 10<<30) }, "it is full about 2026-11-26", ""},
		{"it is full in twenty days", func(v *VaultFacts) { v.Free = 250 << 30; v.Machines[0].Points = daily(40, 10<<30) }, "", "it may be full as early as 2026-12-1"},
		{"points are damaged", func(v *VaultFacts) { v.Harmed, v.Damaged = 2, 1 }, "2 points are damaged", ""},
		{"what no point needs is damaged", func(v *VaultFacts) { v.Damaged = 1 }, "", "1 pieces are damaged that no point needs"},
		{"the clock is wrong", func(v *VaultFacts) { v.Clock = "the clock of this host cannot be believed" }, "nothing is removed: the clock", ""},
		{"records cannot be read", func(v *VaultFacts) { v.Unread = "read points/x: damaged record" }, "damaged record", ""},
		{"it was never checked", func(v *VaultFacts) { v.Check = time.Time{} }, "", ""},
		{"it was checked long ago", func(v *VaultFacts) { v.Check = now.AddDate(0, -2, 0) }, "", "last checked 61d ago"},
		{"the check found damage", func(v *VaultFacts) { v.CheckProblem = "3 faults" }, "the last check: 3 faults", ""},
		{"the sweep failed", func(v *VaultFacts) { v.SweepProblem = "a page is damaged" }, "", "the last sweep: a page is damaged"},
		{"it is held", func(v *VaultFacts) { v.HeldUntil = now.Add(time.Hour) }, "", "HELD until"},
	} {
		v := wellVault(healthy())
		c.change(&v)
		s := Compose(Facts{Now: now, Vaults: []VaultFacts{v}})
		holds(t, c.name+", risk", s.Vaults[0].Reasons, c.risk)
		holds(t, c.name+", warning", s.Vaults[0].Warnings, c.warning)
	}
}

func TestAVaultThatHangsIsShownAsItWas(t *testing.T) {
	t.Parallel()
	before := Compose(Facts{Now: now.Add(-3 * time.Hour), Vaults: []VaultFacts{wellVault(healthy())}})
	if before.AtRisk {
		t.Fatal(before.Reasons)
	}
	s := Compose(Facts{Now: now.Add(3 * time.Hour), Before: &before, Vaults: []VaultFacts{{Vault: api.Vault{Path: "/srv/v"}, Problem: "its file system does not answer"}}})
	v := s.Vaults[0]
	if v.AsOf == nil || !v.AsOf.Equal(now.Add(-3*time.Hour)) || v.Points != 2 || v.Free != 800<<30 || v.Name != "v" {
		t.Errorf("%+v", v)
	}
	holds(t, "vault", v.Reasons, "it cannot be read: its file system does not answer")
	if len(s.Machines) != 1 || !s.Machines[0].Missed || *s.Machines[0].Age != 27*3600 {
		t.Errorf("%+v", s.Machines)
	}
	again := Compose(Facts{Now: now.Add(4 * time.Hour), Before: &s, Vaults: []VaultFacts{{Vault: api.Vault{Path: "/srv/v"}, Problem: "its file system does not answer"}}})
	if !again.Vaults[0].AsOf.Equal(now.Add(-3*time.Hour)) || len(again.Machines[0].Reasons) != 1 {
		t.Errorf("%+v %q", again.Vaults[0].AsOf, again.Machines[0].Reasons)
	}
}

func TestSinceWhenAMachineIsUnprotectedIsRemembered(t *testing.T) {
	t.Parallel()
	m := healthy()
	first := Compose(Facts{Now: now, Vaults: []VaultFacts{wellVault(m)}})
	m.Policy = nil
	facts := Facts{Now: now.Add(time.Hour), Before: &first, Vaults: []VaultFacts{wellVault(m)}, VMs: []api.FoundVM{{Name: "new", UUID: "u", Disks: []api.VMDisk{{Size: 5}, {Size: 7, LeftOut: "x"}}}, {Name: "web1", Machine: "web1"}, {Name: "scratch"}}, Ignored: []string{"scratch"}}
	second := Compose(facts)
	facts.Now, facts.Before = now.Add(48*time.Hour), &second
	third := Compose(facts)
	if got := third.Machines[0].Unprotected; got == nil || !got.Equal(now.Add(time.Hour)) {
		t.Errorf("%v", got)
	}
	if len(third.VMs) != 1 || third.VMs[0].Name != "new" || third.VMs[0].Size != 5 || !third.VMs[0].Since.Equal(now.Add(time.Hour)) {
		t.Errorf("%+v", third.VMs)
	}
	holds(t, "VM", third.Reasons, "VM new: nobody protects it")
	one, ok := Only(third, "web1")
	if !ok || len(one.Reasons) != 1 || !one.AtRisk || len(one.Vaults) != 1 {
		t.Errorf("%+v %v", one, ok)
	}
	other := wellVault(healthy())
	other.Vault = api.Vault{ID: "bb", Name: "other", Path: "/srv/o"}
	other.HeldUntil = now.AddDate(1, 0, 0)
	facts.Vaults, facts.Unasked = append(facts.Vaults, other), "no answer"
	both := Compose(facts)
	for _, c := range []struct {
		id, path          string
		machines, reasons int
		warnings          int
	}{{"aa", "", 1, 2, 1}, {"bb", "x", 1, 2, 2}, {"", "/srv/o", 1, 2, 2}, {"cc", "/srv/o", 0, 1, 1}} {
		if s := InVault(both, c.id, c.path); len(s.Machines) != c.machines || len(s.Reasons) != c.reasons || len(s.Warnings) != c.warnings || len(s.VMs) != 1 {
			t.Errorf("%+v: %d machines, %q, %q", c, len(s.Machines), s.Reasons, s.Warnings)
		}
	}
	if _, ok := Only(third, "web2"); ok {
		t.Error("there is no web2")
	}
}

func TestAVaultOfWhichNothingIsKnownIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	sealed := VaultFacts{Vault: api.Vault{Name: "sealed", Path: "/srv/sealed"}, Problem: "no key"}
	missing := VaultFacts{Vault: api.Vault{Name: "missing", Path: "/srv/missing"}, Problem: "no such folder"}
	before := Compose(Facts{Now: now, Vaults: []VaultFacts{sealed, missing}})
	s := Compose(Facts{Now: now.Add(time.Hour), Before: &before, Vaults: []VaultFacts{sealed, missing}})
	for i, want := range []string{"sealed", "missing"} {
		if v := s.Vaults[i]; v.Name != want || v.AsOf != nil || !strings.HasPrefix(s.Reasons[i], "vault "+want) {
			t.Errorf("%+v", v)
		}
	}
}

func TestAVaultInWhichNothingCanBeStoredIsAtRisk(t *testing.T) {
	t.Parallel()
	ro, busy := wellVault(healthy()), wellVault(healthy())
	ro.Unowned, busy.Waits = "read-only file system", "pid 7 has it"
	s := Compose(Facts{Now: now, Vaults: []VaultFacts{ro, busy}})
	if !s.AtRisk || len(s.Reasons) != 1 || !strings.Contains(s.Reasons[0], "nothing can be stored in it: read-only file system") {
		t.Errorf("reasons %q", s.Reasons)
	}
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "pid 7 has it") {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestAVMWithoutANameIsIgnoredByWhatIdentifiesIt(t *testing.T) {
	t.Parallel()
	vms := []api.FoundVM{
		{PID: 1, Disks: []api.VMDisk{{Name: "cd", LeftOut: "a CD"}, {Name: "a", Source: "/srv/a.img"}, {Name: "b", Source: "/srv/b.img"}}},
		{PID: 2, UUID: "u-u", Disks: []api.VMDisk{{Name: "a", Source: "/srv/a.img"}}},
		{PID: 3, Name: "named", UUID: "v-v", Disks: []api.VMDisk{{Name: "a", Source: "/srv/c.img"}}},
		{PID: 4},                               // has nothing to protect
		{PID: 5, Unclear: "it did not answer"}, // nobody knows
	}
	seen := func(ignored ...string) (labels []string) {
		s := Compose(Facts{Now: now, VMs: vms, Ignored: ignored})
		if len(s.Reasons) != len(s.VMs) {
			t.Errorf("reasons %q", s.Reasons)
		}
		for i := range s.VMs {
			labels = append(labels, s.VMs[i].Label())
		}
		return labels
	}
	all := []string{"disk:/srv/a.img", "u-u", "named", "of pid 5, without name and disks"}
	if got := seen(); !slices.Equal(got, all) {
		t.Errorf("%q", got)
	}
	for _, word := range []string{"disk:/srv/a.img", "u-u", "named"} {
		if got := seen(word); len(got) != 3 || slices.Contains(got, word) {
			t.Errorf("without %s: %q", word, got)
		}
	}
	if got := seen("v-v", "", "disk:", "disk:/srv/b.img"); len(got) != 3 { // all but the named one's UUID mean nothing
		t.Errorf("%q", got)
	}
	if s := Compose(Facts{Now: now, VMs: vms}); !strings.Contains(s.Reasons[0], "`holdfast ignore 'disk:/srv/a.img'` lets it be") {
		t.Errorf("%q", s.Reasons[0])
	}
}

func TestALineForNagiosIsOneLine(t *testing.T) {
	t.Parallel()
	late := healthy()
	late.Points = []Point{ago(48 * time.Hour)}
	warned := healthy()
	warned.Machine.State = "GONE (migrated?)"
	odd := wellVault(healthy())
	odd.Vault.Name = "the vault='x'|y\n"
	odd.Unread = "first\nline|data=1"
	for _, c := range []struct {
		f    Facts
		line string
		code int
	}{
		{Facts{Vaults: []VaultFacts{wellVault(healthy())}}, "HOLDFAST OK - all is well | machines=1 at_risk=0 rpo_missed=0 unprotected_vms=0 oldest_age=86400s 'free_v'=858993459200B;;53687091200:;0;1099511627776 'stored_v'=1073741824B", 0},
		{Facts{Vaults: []VaultFacts{wellVault(warned)}}, "HOLDFAST WARNING - machine web1: VM: GONE (migrated?) | ", 1},
		{Facts{Vaults: []VaultFacts{wellVault(late)}, VMs: []api.FoundVM{{Name: "x"}}}, "HOLDFAST CRITICAL - machine web1: RPO missed: its newest good point is 2d old, at most 1d2h are allowed (and 1 more) | machines=1 at_risk=1 rpo_missed=1 unprotected_vms=1", 2},
		{Facts{Vaults: []VaultFacts{{Vault: api.Vault{Name: "v"}, Problem: "gone"}}}, "HOLDFAST UNKNOWN - vault v: it cannot be read: gone | ", 3},
		{Facts{Vaults: []VaultFacts{odd}}, "HOLDFAST CRITICAL - vault the vault='x' y : first line data=1 | machines=1", 2},
		{Facts{}, "HOLDFAST WARNING - there is no vault, so nothing is protected: `holdfast vault create FOLDER` makes one", 1},
	} {
		c.f.Now = now
		line, code := Nagios(Compose(c.f))
		if code != c.code || !strings.HasPrefix(line, c.line) || strings.ContainsAny(line, "\n") || strings.Count(line, "|") != 1 {
			t.Errorf("%d: %s\nwant %d: %s", code, line, c.code, c.line)
		}
	}
}

func TestAVaultForWhichNothingIsBackedUpByItselfIsNotWell(t *testing.T) {
	t.Parallel()
	byHand := healthy()
	byHand.Policy, byHand.Machine.Protected, byHand.Machine.Protection, byHand.VM = nil, false, nil, nil
	bare := func(policies int, machines ...MachineFacts) VaultFacts {
		v := wellVault(machines...)
		v.Policies = policies
		return v
	}
	for _, c := range []struct {
		name    string
		v       VaultFacts
		ignored string
		want    string
		watched int
	}{
		{"a new one", bare(0), "", "nothing is protected yet: `holdfast discover`", 0},
		{"policies alone", bare(1), "", "nothing is protected yet, since its policies cover no machine: `holdfast discover`", 0},
		{"points made by hand", bare(0, byHand), "", "nothing is protected: its points were made by hand", 0},
		{"points made by hand, which is known", bare(0, byHand), "web1", "", 0},
		{"a protected machine", bare(1, healthy()), "", "", 1},
		{"one besides", bare(1, healthy(), byHand), "web1", "", 1},
	} {
		s := Compose(Facts{Now: now, Vaults: []VaultFacts{c.v}, Ignored: []string{c.ignored}})
		holds(t, c.name, s.Vaults[0].Warnings, c.want)
		line, code := Nagios(s)
		if c.want != "" && (s.AtRisk || code != NagiosWarning || !strings.Contains(line, "WARNING - vault v: "+c.want)) {
			t.Errorf("%s: %v, %d, %s", c.name, s.AtRisk, code, line)
		}
		if v := s.Vaults[0]; v.Watched != c.watched || v.Policies != c.v.Policies {
			t.Errorf("%s: %d machines of %d policies", c.name, v.Watched, v.Policies)
		}
	}
}
