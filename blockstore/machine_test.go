package blockstore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func someProtection() Protection {
	return Protection{
		Since: time.Unix(1793000000, 0).UTC(), VM: VM{UUID: "u1", Name: "web 1", Kind: KindQEMU}, QEMU: &QEMUVM{QMP: "/run/web1.qmp"},
		Images: []ImageDisk{{Name: "vda", Path: "/vms/web1.raw"}}, Consistency: Filesystem, FallBack: true,
		Hooks: []Hook{{Pre: "sync"}},
	}
}

func TestAMachineIsRememberedAsItWasProtected(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	p := backUp(t, o, "web1", map[string]Source{"vda": memory("x")})
	m, err := o.Protect(t.Context(), "web1", someProtection())
	if err != nil || m.ID != p.Machine || m.Generation != 2 {
		t.Fatalf("%+v, %v; the machine of the points is %s", m, err, p.Machine)
	}
	for range 3 { // older records go
		if _, err := o.NoteVM(t.Context(), m.ID, func(p *Protection) { p.VM.Name = "called otherwise" }); err != nil {
			t.Fatal(err)
		}
	}
	if names, _ := o.dir.List(machinesDir + "/" + string(m.ID)); len(names) != 2 {
		t.Errorf("records %v", names)
	}
	mustClose(t, o)
	o = ownVault(t, dir, OwnOptions{})
	defer mustClose(t, o)
	want := someProtection()
	want.VM.Name = "called otherwise"
	if m, err = o.Machine(t.Context(), "web1"); err != nil || !reflect.DeepEqual(*m.Protected, want) {
		t.Errorf("%+v, %v", m.Protected, err)
	}
	if q := backUp(t, o, "web1", map[string]Source{"vda": memory("y")}); q.Machine != p.Machine || q.Parent != p.ID {
		t.Errorf("the next point is of machine %s, its parent is %q", q.Machine, q.Parent)
	}
	if m, err = o.Unprotect(t.Context(), m.ID); err != nil || m.Protected != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err = o.Unprotect(t.Context(), m.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("unprotected again: %v", err)
	}
	if points, err := o.Points(t.Context()); err != nil || len(points) != 2 {
		t.Errorf("%d points are left, %v", len(points), err)
	}
	mustCheck(t, o.Vault)
}

func TestAMachineThatIsBeingMadeIsNotOneThatLostItsRecord(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": memory("x")})
	mustClose(t, o)
	being := filepath.Join(dir, machinesDir, "c000be729aa67b9a")
	if err := os.Mkdir(being, 0o700); err != nil {
		t.Fatal(err)
	}
	machines := func() ([]Machine, error) {
		v, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		return v.Machines(t.Context())
	}
	there, err := machines()
	if err != nil || len(there) != 1 || there[0].Name != "web1" {
		t.Fatalf("while one is made: %+v, %v", there, err)
	}
	records, _ := filepath.Glob(filepath.Join(dir, machinesDir, string(there[0].ID), "*"))
	for _, r := range records {
		if err := os.Remove(r); err != nil {
			t.Fatal(err)
		}
	}
	if there, err := machines(); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("without its record: %+v, %v", there, err)
	}
	o = ownVault(t, dir, OwnOptions{})
	backUp(t, o, "web1", map[string]Source{"vda": memory("y")})
	mustClose(t, o)
	if there, err = machines(); err != nil || len(there) != 1 {
		t.Errorf("after an owner came: %+v, %v", there, err)
	}
	if _, err := os.Stat(being); !os.IsNotExist(err) {
		t.Errorf("what was never made is still there: %v", err)
	}
}

func TestOneVMIsNotTwoMachines(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	if _, err := o.Protect(t.Context(), "web1", someProtection()); err != nil {
		t.Fatal(err)
	}
	domain := Protection{VM: VM{UUID: "u1"}, Libvirt: &LibvirtVM{"qemu:///system", "u1"}, Consistency: Crash}
	for name, p := range map[string]Protection{"the same socket": someProtection(), "the same UUID": domain} {
		if _, err := o.Protect(t.Context(), "web2", p); !errors.Is(err, ErrExists) || !strings.Contains(err.Error(), "web1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if machines, err := o.Machines(t.Context()); err != nil || len(machines) != 1 {
		t.Errorf("%v, %v", machines, err)
	}
	successor := someProtection()
	successor.VM.UUID = "u2"
	if _, err := o.Protect(t.Context(), "web2", successor); err != nil {
		t.Errorf("another VM behind the socket of one that is gone: %v", err)
	}
}

func TestWhatCannotBeProtectedIsRefused(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	for name, change := range map[string]func(*Protection){
		"no way":          func(p *Protection) { p.QEMU, p.Images = nil, nil },
		"two ways":        func(p *Protection) { p.Libvirt = &LibvirtVM{} },
		"consistency":     func(p *Protection) { p.Consistency = "perfect" },
		"no consistency":  func(p *Protection) { p.Consistency = "" },
		"disk name":       func(p *Protection) { p.Images[0].Name = "../vda" },
		"disk twice":      func(p *Protection) { p.Images = append(p.Images, p.Images[0]) },
		"no path":         func(p *Protection) { p.Images[0].Path = "" },
		"excluded name":   func(p *Protection) { p.Exclude = []string{"a/b"} },
		"hook":            func(p *Protection) { p.Hooks[0].Pre = "" },
		"hooks":           func(p *Protection) { p.Hooks = make([]Hook, 1000) },
		"limit of a hook": func(p *Protection) { p.Hooks[0].Limit = -1 },
		"freeze time-out": func(p *Protection) { p.FreezeTimeout = -1 },
	} {
		p := someProtection()
		change(&p)
		if _, err := o.Protect(t.Context(), "web1", p); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := o.Protect(t.Context(), "web 1", someProtection()); err == nil {
		t.Error("a name with a space is taken")
	}
	if machines, err := o.Machines(t.Context()); err != nil || len(machines) != 0 {
		t.Errorf("%v, %v", machines, err)
	}
}

func TestANameIsFreeOnceItsMachineIsRenamed(t *testing.T) {
	t.Parallel()
	o := ownVault(t, newVault(t, 0), OwnOptions{})
	defer mustClose(t, o)
	p := backUp(t, o, "web1", map[string]Source{"vda": memory("x")})
	backUp(t, o, "web2", map[string]Source{"vda": memory("x")})
	if _, err := o.RenameMachine(t.Context(), p.Machine, "web2"); !errors.Is(err, ErrExists) {
		t.Errorf("renamed to a name that is taken: %v", err)
	}
	m, err := o.RenameMachine(t.Context(), p.Machine, "old-web")
	if err != nil || m.Name != "old-web" || m.ID != p.Machine {
		t.Fatalf("%+v, %v", m, err)
	}
	if q := backUp(t, o, "old-web", map[string]Source{"vda": memory("y")}); q.Machine != p.Machine || q.Parent != p.ID {
		t.Errorf("under its new name it is machine %s with parent %q", q.Machine, q.Parent)
	}
	if q := backUp(t, o, "web1", map[string]Source{"vda": memory("z")}); q.Machine == p.Machine || q.Parent != "" {
		t.Errorf("a new web1 is machine %s with parent %q", q.Machine, q.Parent)
	}
}

func TestAMachineIsHeldUntilAMomentOrReleased(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	defer mustClose(t, o)
	web, err := o.Protect(t.Context(), "web1", someProtection())
	if err != nil {
		t.Fatal(err)
	}
	db := Machine{ID: "2222222222222222", Name: "db1"}
	v, err := Open(t.Context(), dir, Options{}) // beside the owner
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, v)
	now := time.Now()
	if err := v.HoldMachine(web.ID, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := o.CheckHeld(web); !errors.Is(err, ErrMachineHeld) || !strings.Contains(err.Error(), "web1") {
		t.Errorf("held: %v", err)
	}
	if err := o.CheckHeld(db); err != nil {
		t.Errorf("another machine: %v", err)
	}
	if h, err := o.MachineHeld(web.ID, now.Add(2*time.Hour)); h != nil || err != nil {
		t.Errorf("two hours later: %v, %v", h, err)
	}
	if err := v.HoldMachine("", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n, err := v.ReleaseMachine(web.ID); n != 1 || err != nil {
		t.Errorf("released %d, %v", n, err)
	}
	if err := o.CheckHeld(db); !errors.Is(err, ErrMachineHeld) {
		t.Errorf("all are held: %v", err)
	}
	if n, err := v.ReleaseMachine(""); n != 1 || err != nil || o.CheckHeld(web) != nil {
		t.Errorf("released %d, %v, %v", n, err, o.CheckHeld(web))
	}
	for _, until := range []time.Time{now.Add(-time.Second), now.Add(MaxHold + time.Hour)} {
		if err := v.HoldMachine(web.ID, until); err == nil {
			t.Errorf("held until %v", until)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, heldDir, "00000009-0a0a0a0a"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.CheckHeld(web); !errors.Is(err, ErrMachineHeld) {
		t.Errorf("a hold that cannot be read: %v", err)
	}
}

func TestADiskIsKnownAgainBySerialThenSourceThenName(t *testing.T) {
	t.Parallel()
	disk := func(name, source, serial string) DiskInfo {
		return DiskInfo{Name: name, Source: source, Serial: serial}
	}
	b := &Backup{parent: &Point{Disks: []DiskInfo{disk("vda", "/a", "A"), disk("vdb", "/b", "B"), disk("vdc", "/c", ""), disk("vdd", "/d", "D"), disk("vde", "/d", "D")}}}
	for _, test := range []struct {
		now  DiskInfo
		want string
	}{
		{disk("vda", "/a", "A"), "vda"},
		{disk("vda", "/b", "A"), "vda"},  // moved
		{disk("vda", "/a", "B"), "vdb"},  // the serial counts more
		{disk("vdb", "/c", ""), "vdc"},   // moved up
		{disk("vdc", "/new", ""), "vdc"}, // only its name is left
		{disk("vdz", "/new", "Z"), ""},   // a new one
		{disk("vdz", "/d", "D"), ""},     // two have both
		{disk("vdb", "", ""), "vdb"},     // nothing is known
	} {
		got := ""
		if d := b.ParentDisk(test.now); d != nil {
			got = d.Name
		}
		if got != test.want {
			t.Errorf("%+v continues %q, want %q", test.now, got, test.want)
		}
	}
}

func FuzzMachine(f *testing.F) {
	p := someProtection()
	for _, m := range []Machine{{ID: "1111111111111111", Name: "web1", Protected: &p}, {Name: "web1"}} {
		b, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"name":"x","protected":{"images":[{"name":"/","path":""}],"consistency":"crash","hooks":[{}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var m, back Machine
		if decodeRecord(recordKeys, machineKind, "m", sign("m", "holdfast machine 1 plain\n", string(body)), &m) != nil || m.check() != nil {
			return
		}
		again, err := encodeRecord(recordKeys, false, machineKind, "m", m)
		if err != nil {
			return // times that cannot be written, or too long
		}
		if err := decodeRecord(recordKeys, machineKind, "m", again, &back); err != nil {
			t.Fatalf("does not read back: %v", err)
		}
		a, _ := json.Marshal(m)
		b, _ := json.Marshal(back)
		if string(a) != string(b) {
			t.Errorf("reads back as %s, was %s", b, a)
		}
	})
}
