package blockstore

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func somePolicy(name string) Policy {
	return Policy{Name: name, Machines: []string{"web*"}, Schedule: "daily at 22:00", Zone: "Europe/Berlin", Keep: Keep{Daily: 7}}
}

func policyNames(t *testing.T, v *Vault) string {
	t.Helper()
	all, err := v.Policies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestAPolicyIsRememberedChangedAndRemoved(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	o := ownVault(t, dir, OwnOptions{})
	first, err := o.SetPolicy(t.Context(), somePolicy("web"))
	if err != nil || first.Generation != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err := o.SetPolicy(t.Context(), somePolicy("db")); err != nil {
		t.Fatal(err)
	}
	p := somePolicy("web")
	for i := range 3 {
		p.Keep.Daily = i
		if p, err = o.SetPolicy(t.Context(), p); err != nil || p.ID != first.ID || p.Generation != uint64(i)+2 {
			t.Fatalf("%+v, %v", p, err)
		}
	}
	if names, _ := o.dir.List(policiesDir + "/" + string(p.ID)); len(names) != 2 {
		t.Errorf("records %v", names)
	}
	if err := o.RemovePolicy(t.Context(), "db"); err != nil {
		t.Fatal(err)
	}
	if err := o.RemovePolicy(t.Context(), "db"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed again: %v", err)
	}
	for _, bad := range []Policy{{Name: ".."}, {Name: "a", Keep: Keep{Daily: -1}}, {Name: "a", TrashDays: 9999}, {Name: "a", Consistency: "best"}, {Name: "a", Zone: strings.Repeat("x", 999)}, {Name: "a", Machines: make([]string, 1001)}, {Name: "a", Retries: 101}, {Name: "a", Priority: -101},
		{Name: "a", ReadRate: -1}, {Name: "a", WriteRate: -1}, {Name: "a", Verify: 101}, {Name: "a", Verify: math.NaN()}, {Name: "a", Tag: strings.Repeat("x", 999)}} {
		if _, err := o.SetPolicy(t.Context(), bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	mustClose(t, o)
	o = ownVault(t, dir, OwnOptions{})
	defer mustClose(t, o)
	if got, err := o.Policy(t.Context(), "web"); err != nil || got.Keep.Daily != 2 || policyNames(t, o.Vault) != "web" {
		t.Errorf("%+v, %v", got, err)
	}
	if p, err := o.SetPolicy(t.Context(), somePolicy("db")); err != nil || p.Generation != 3 {
		t.Errorf("made again: %+v, %v", p, err)
	}
	mustCheck(t, o.Vault)
}

func TestADamagedPolicyIsThatBeforeOrIsLostAndSaid(t *testing.T) {
	t.Parallel()
	dir := newVault(t, 0)
	var warned []string
	o := ownVault(t, dir, OwnOptions{Options: Options{Warn: func(s string) { warned = append(warned, s) }}})
	defer mustClose(t, o)
	p, err := o.SetPolicy(t.Context(), somePolicy("web"))
	if err == nil {
		p.Keep.Daily = 30
		p, err = o.SetPolicy(t.Context(), p)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, policiesDir, string(p.ID), "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	slices.Reverse(files)
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, bytes.Replace(b, []byte("web*"), []byte("*web"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := o.Policy(t.Context(), "web")
		if i == 0 && (err != nil || got.Keep.Daily != 7) {
			t.Errorf("%+v, %v", got, err)
		}
		if i == 1 && err == nil {
			t.Error("a policy is read of which every record is damaged")
		}
	}
	if r, err := o.Check(t.Context(), CheckOptions{}); err != nil || len(r.Faults) != 2 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if _, err := o.SetPolicy(t.Context(), somePolicy("db")); err != nil || policyNames(t, o.Vault) != "db" || !strings.Contains(strings.Join(warned, " "), "a policy was lost") {
		t.Errorf("%v, warnings %q", err, warned)
	}
	mustCheck(t, o.Vault)
}

func TestPoliciesAreCopiedAndSalvagedAndSealed(t *testing.T) {
	t.Parallel()
	dir, _ := sealedVault(t)
	o := ownVault(t, dir, OwnOptions{Options: Options{Unlock: passphrase("right")}})
	p, err := o.SetPolicy(t.Context(), somePolicy("web"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, policiesDir, string(p.ID), "*"))
	if b, err := os.ReadFile(files[0]); err != nil || bytes.Contains(b, []byte("Berlin")) {
		t.Errorf("the record of a sealed vault reads %s, %v", b, err)
	}
	plain := newVault(t, 0)
	to := ownVault(t, plain, OwnOptions{})
	for range 2 {
		if _, err := to.CopyPolicies(t.Context(), o.Vault); err != nil || policyNames(t, to.Vault) != "web" {
			t.Errorf("copied %q, %v", policyNames(t, to.Vault), err)
		}
	}
	backUp(t, to, "web1", map[string]Source{"vda": memory("x")})
	mustClose(t, to)
	mustClose(t, o)
	out := filepath.Join(t.TempDir(), "salvaged")
	if _, err := Salvage(t.Context(), plain, out, SalvageOptions{MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	v, err := Open(t.Context(), out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if policyNames(t, v) != "web" {
		t.Errorf("salvaged %q", policyNames(t, v))
	}
}

func TestAPointStaysInTheTrashAsLongAsWasSaid(t *testing.T) {
	t.Parallel()
	now := time.Now()
	o := ownVault(t, newVault(t, 0), OwnOptions{Clock: func() time.Time { return now }})
	defer mustClose(t, o)
	var points []*Point
	for _, text := range []string{"a", "b", "c"} {
		points = append(points, backUp(t, o, "web1", map[string]Source{"vda": memory(text)}))
	}
	for i, days := range []int{3, 0} {
		if err := o.DeleteFor(points[i], days); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.DeleteFor(points[2], 99999); err == nil {
		t.Error("99999 days are taken")
	}
	left := func() int {
		t.Helper()
		if _, err := o.Sweep(t.Context(), SweepOptions{}); err != nil {
			t.Fatal(err)
		}
		trash, err := o.Trash(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(trash)
	}
	for _, step := range []struct{ days, left int }{{2, 2}, {2, 1}, {9, 1}, {2, 0}} {
		now = now.AddDate(0, 0, step.days)
		if n := left(); n != step.left {
			t.Errorf("%d are in the trash, want %d", n, step.left)
		}
	}
	if m, err := o.Machine(t.Context(), "web1"); err != nil || o.NotePruned(t.Context(), m, "last 3") != nil {
		t.Error(err)
	}
	if m, err := o.Machine(t.Context(), "web1"); err != nil || m.Pruned != "last 3" {
		t.Errorf("%+v, %v", m, err)
	}
	if harmed, err := o.Harmed(t.Context(), points[2:]); err != nil || len(harmed) != 0 {
		t.Errorf("harmed %v, %v", harmed, err)
	}
	mustCheck(t, o.Vault)
}
