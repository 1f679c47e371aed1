package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// yard is a vault, an image and a service.
type yard struct {
	*service.Service
	t          *testing.T
	table      *jobs.Table
	dir, vault string
}

func newYard(t *testing.T) *yard {
	t.Helper()
	dir := t.TempDir()
	y := &yard{t: t, dir: dir, vault: filepath.Join(dir, "vault")}
	if _, err := blockstore.Create(t.Context(), y.vault, blockstore.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	table, err := jobs.Open(jobs.Options{Explain: service.Explain})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close(context.Background()) })
	y.table = table
	y.Service = service.New(service.Options{
		Vaults: &service.OneVault{Path: y.vault, Options: blockstore.OwnOptions{MinFree: -1}}, Jobs: table, Tool: "test", RestoreFolders: []string{filepath.Join(dir, "restores")},
	})
	y.write(1)
	return y
}

func (y *yard) image() string { return filepath.Join(y.dir, "vda.img") }

func (y *yard) write(seed byte) []byte { return y.writeMiB(seed, 1) }

func (y *yard) writeMiB(seed byte, n int) []byte {
	y.t.Helper()
	b := make([]byte, n<<20)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	if err := os.WriteFile(y.image(), b, 0o600); err != nil {
		y.t.Fatal(err)
	}
	return b
}

// run starts a job, follows it to its end and decodes its result.
func (y *yard) run(q api.JobRequest, result any) api.Job {
	y.t.Helper()
	j, err := y.Start(y.t.Context(), q)
	if err != nil {
		y.t.Fatal(err)
	}
	err = y.Follow(y.t.Context(), j.ID, func(e api.JobEvent) error {
		j = e.Job
		return nil
	})
	if err == nil && result != nil && j.Result != nil {
		err = json.Unmarshal(j.Result, result)
	}
	if err != nil {
		y.t.Fatal(err)
	}
	return j
}

func (y *yard) backup() api.Point {
	y.t.Helper()
	var b api.Backup
	j := y.run(api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=" + y.image()}}}, &b)
	if j.State != api.JobCompleted || j.Stored == 0 && j.Read == 0 {
		y.t.Fatalf("the backup ended as %+v", j)
	}
	return b.Point
}

func TestAMachineIsBackedUpCheckedRestoredForgottenAndSwept(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	first := y.backup()
	content := y.write(2)
	second := y.backup()
	points, err := y.Points(t.Context(), "", "web1")
	if err != nil || len(points) != 2 || points[0].ID != first.ID || points[1].ID != second.ID {
		t.Fatalf("points are %v, %v", points, err)
	}
	machines, err := y.Machines(t.Context(), "")
	if err != nil || len(machines) != 1 || machines[0].Points != 2 {
		t.Errorf("machines are %+v, %v", machines, err)
	}
	vaults, err := y.Vaults(t.Context())
	if err != nil || len(vaults) != 1 || vaults[0].Points != 2 {
		t.Errorf("vaults are %+v, %v", vaults, err)
	}
	var check api.Check
	if j := y.run(api.JobRequest{Kind: api.JobCheck, Check: &api.CheckOptions{Data: true}}, &check); j.State != api.JobCompleted || check.Points != 2 || len(check.Faults) > 0 {
		t.Errorf("the check ended as %+v", j)
	}
	folder := filepath.Join(y.dir, "restores", "web1")
	if err := os.Mkdir(filepath.Dir(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	var back api.Restore
	if j := y.run(api.JobRequest{Kind: api.JobRestore, Machine: "web1", Restore: &api.RestoreJobOptions{Point: "latest", Folder: folder}}, &back); j.State != api.JobCompleted {
		t.Fatalf("the restore ended as %+v, %+v", j, j.Error)
	}
	if b, err := os.ReadFile(filepath.Join(folder, "vda.raw")); err != nil || !bytes.Equal(b, content) {
		t.Errorf("what was restored differs: %v", err)
	}
	var prunes []api.Prune
	if j := y.run(api.JobRequest{Kind: api.JobPrune}, &prunes); j.State != api.JobCompleted || len(prunes) != 1 || prunes[0].Pruned != 0 || prunes[0].Passed == "" {
		t.Errorf("without a policy the prune ended as %+v: %+v", j, prunes)
	}
	v := &service.OneVault{Path: y.vault, Options: blockstore.OwnOptions{MinFree: -1}}
	err = v.Own(t.Context(), "", service.ToForget, func(o *blockstore.Owner) error {
		p, err := service.FindPoint(t.Context(), o.Vault, api.PointRef{Machine: "web1", Point: first.ID})
		if err != nil {
			return err
		}
		return o.Delete(p)
	})
	if err != nil {
		t.Fatal(err)
	}
	if trash, err := y.Trash(t.Context(), ""); err != nil || len(trash) != 1 || trash[0].ID != first.ID {
		t.Errorf("the trash is %+v, %v", trash, err)
	}
	var sweep api.Sweep
	y.run(api.JobRequest{Kind: api.JobEmptyTrash, EmptyTrash: &api.EmptyTrashOptions{DryRun: true}}, &sweep)
	if len(sweep.Dropped) != 1 || !sweep.Dry {
		t.Errorf("emptying the trash would be %+v", sweep)
	}
	y.run(api.JobRequest{Kind: api.JobEmptyTrash, EmptyTrash: &api.EmptyTrashOptions{Points: []api.PointRef{{Machine: "web1", Point: first.ID}}}}, &sweep)
	if len(sweep.Dropped) != 1 || sweep.Freed == 0 {
		t.Errorf("emptying the trash was %+v", sweep)
	}
	if j := y.run(api.JobRequest{Kind: api.JobSweep, Sweep: &api.SweepOptions{Full: true}}, &sweep); j.State != api.JobCompleted {
		t.Errorf("the sweep ended as %+v", j)
	}
}

func TestAFailureIsAProblemWithAHint(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.backup()
	for _, c := range []struct {
		q          api.JobRequest
		kind, hint string
		exit       int
	}{
		{api.JobRequest{Kind: api.JobBackup, Machine: "web1"}, "not-protected", "holdfast discover", 6},
		{api.JobRequest{Kind: api.JobBackup, Machine: "web2"}, "not-found", "did you mean web1?", 6},
		{api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=/none"}}}, "not-found", "", 6},
		{api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda"}}}, "invalid", "", 2},
		{api.JobRequest{Kind: api.JobPrune, Prune: &api.PruneOptions{Machines: []string{"x"}}}, "not-found", "holdfast machines", 6},
		{api.JobRequest{Kind: api.JobCheck, Machine: "web1", Check: &api.CheckOptions{Data: true, Point: "p0000000000000000"}}, "not-found", "holdfast points", 6},
	} {
		j := y.run(c.q, nil)
		if j.State != api.JobFailed || j.Error == nil {
			t.Errorf("%+v ended as %+v", c.q, j)
			continue
		}
		if p := j.Error; p.Kind != c.kind || p.Exit != c.exit || !strings.Contains(p.Hint, c.hint) || p.Detail == "" || p.Status < 400 {
			t.Errorf("%+v: %+v", c.q, p)
		}
	}
}

func TestARequestThatMakesNoSenseIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	for _, q := range []api.JobRequest{
		{}, {Kind: "x"}, {Kind: api.JobBackup}, {Kind: api.JobBackup, Machine: "../x"}, {Kind: api.JobBackup, Machine: "a", Sweep: &api.SweepOptions{}},
		{Kind: api.JobRestore, Machine: "a"}, {Kind: api.JobRestore, Machine: "a", Restore: &api.RestoreJobOptions{Point: "latest", Folder: "x"}},
		{Kind: api.JobRestore, Machine: "a", Restore: &api.RestoreJobOptions{Point: "latest", Folder: "/a/../b"}},
		{Kind: api.JobCheck, Check: &api.CheckOptions{Rate: 1}}, {Kind: api.JobCheck, Check: &api.CheckOptions{Data: true, Percent: 101}},
	} {
		var bad *service.Invalid
		if _, err := y.Start(t.Context(), q); !errors.As(err, &bad) || service.Explain(err).Status != 400 {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

func TestWhoIsNotTrustedNamesNoPaths(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	restore := func(folder string) api.JobRequest {
		return api.JobRequest{Kind: api.JobRestore, Machine: "web1", Restore: &api.RestoreJobOptions{Point: "latest", Folder: folder}}
	}
	ctx := api.WithCaller(t.Context(), api.Caller{Name: "ann"})
	if err := errors.Join(os.MkdirAll(filepath.Join(y.dir, "restores"), 0o700), os.Symlink("/etc", filepath.Join(y.dir, "restores", "link")),
		os.Symlink("/nowhere/at/all", filepath.Join(y.dir, "restores", "nowhere"))); err != nil {
		t.Fatal(err)
	}
	for _, q := range []api.JobRequest{
		{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=/etc/shadow"}}},
		{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Scratch: api.Scratch{Folder: "/etc"}}},
		restore("/etc/x"), restore(y.dir), restore(filepath.Join(y.dir, "restores2")),
		restore(filepath.Join(y.dir, "restores", "link", "a")), restore(filepath.Join(y.dir, "restores", "nowhere")),
	} {
		if _, err := y.Start(ctx, q); service.Explain(err) == nil || service.Explain(err).Exit != 8 {
			t.Errorf("%+v: %v", q, err)
		}
	}
	j, err := y.Start(ctx, restore(filepath.Join(y.dir, "restores", "a")))
	if err != nil || j.By != "ann" {
		t.Errorf("a registered folder: %+v, %v", j, err)
	}
}

func TestACancelledBackupSaysWhatItLeaves(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.writeMiB(3, 16)
	j, err := y.Start(t.Context(), api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=" + y.image()}, Rate: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	err = y.Follow(t.Context(), j.ID, func(e api.JobEvent) error {
		if j = e.Job; j.State == api.JobRunning {
			return y.CancelJob(api.WithCaller(t.Context(), api.Caller{Name: "ann"}), j.ID)
		}
		return nil
	})
	if err != nil || j.State != api.JobCancelled || j.Error.Exit != 130 || !strings.Contains(j.Error.Detail, "cancelled by ann") || j.Error.Hint == "" {
		t.Errorf("it ended as %+v: %+v, %v", j, j.Error, err)
	}
	again, err := y.RetryJob(t.Context(), j.ID)
	if err != nil || again.RetryOf != j.ID || again.Attempt != 2 {
		t.Errorf("it is tried again as %+v, %v", again, err)
	}
	if err := y.CancelJob(t.Context(), again.ID); err != nil {
		t.Error(err)
	}
	if err := y.Follow(t.Context(), again.ID, func(api.JobEvent) error { return nil }); err != nil {
		t.Error(err) // it leaves the vault before the next comes
	}
	limited := y.run(api.JobRequest{Kind: api.JobBackup, Machine: "web2", Backup: &api.BackupOptions{Disks: []string{"vda=" + y.image()}, Rate: 1000, MaxDuration: 1}}, nil)
	if limited.State != api.JobCancelled || limited.Error.Kind != "too-long" || limited.Error.Exit != 1 {
		t.Errorf("it ended as %+v: %+v", limited, limited.Error)
	}
	if took := limited.Ended.Sub(limited.Started.Time); took > time.Minute {
		t.Errorf("after %v", took)
	}
}

func TestAJobOfAPolicyThatIsRetriedMayTakeAsLongAsThePolicySays(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.writeMiB(3, 16)
	if _, err := y.SetPolicies(t.Context(), "", api.PoliciesRequest{Policies: []api.PolicySpec{{Name: "p", Machines: []string{"web*"}, MaxDuration: "1s"}}}); err != nil {
		t.Fatal(err)
	}
	q := api.JobRequest{Kind: api.JobBackup, Machine: "web1", Backup: &api.BackupOptions{Disks: []string{"vda=" + y.image()}, Rate: 1000}}
	first, err := y.StartAs(t.Context(), q, service.How{By: "policy p", Policy: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := y.CancelJob(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	follow := func(id string) (last api.Job) {
		if err := y.Follow(t.Context(), id, func(e api.JobEvent) error { last = e.Job; return nil }); err != nil {
			t.Fatal(err)
		}
		return last
	}
	follow(first.ID)
	again, err := y.RetryJob(t.Context(), first.ID)
	if err != nil || again.Policy != "p" {
		t.Fatalf("%+v, %v", again, err)
	}
	over := time.AfterFunc(time.Minute, func() { y.CancelJob(t.Context(), again.ID) }) // else it would read for hours
	defer over.Stop()
	if j := follow(again.ID); j.State != api.JobCancelled || j.Error.Kind != "too-long" {
		t.Errorf("it ended as %s: %+v", j.State, j.Error)
	}
}

func TestAJobCallsItsMachineByNameAndIsNotRetriedUnderAnother(t *testing.T) {
	y := newYard(t)
	y.backup()
	machines, err := y.Machines(t.Context(), "")
	if err != nil || len(machines) != 1 {
		t.Fatal(machines, err)
	}
	q := api.JobRequest{Kind: api.JobCatalogue, Machine: machines[0].ID, Catalogue: &api.CatalogueOptions{Points: []string{"p0000000000000000"}}}
	j := y.run(q, nil)
	if told := fmt.Sprint(j.Error.Detail, j.Error.Hint); strings.Contains(told, q.Machine) || !strings.Contains(told, j.Machine) {
		t.Errorf("its error calls the machine otherwise: %s", told)
	}
	if j.Machine != machines[0].Name || j.State != api.JobFailed {
		t.Fatalf("the job is of %s, not %s: %s %v", j.Machine, machines[0].Name, j.State, j.Error)
	}
	again, err := y.RetryJob(t.Context(), j.ID)
	if err != nil || again.Machine != j.Machine {
		t.Fatalf("retried it is of %s: %v", again.Machine, err)
	}
	if err := y.Follow(t.Context(), again.ID, func(api.JobEvent) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := y.RenameMachine(t.Context(), "", j.Machine, "other"); err != nil {
		t.Fatal(err)
	}
	var invalid *service.Invalid
	if _, err := y.RetryJob(t.Context(), j.ID); !errors.As(err, &invalid) {
		t.Errorf("it was started for a machine that is called otherwise by now: %v", err)
	}
}
