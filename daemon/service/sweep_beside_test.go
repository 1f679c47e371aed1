package service_test

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/holdfast-backup/holdfast/blockstore"
	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
	"github.com/holdfast-backup/holdfast/daemon/service"
)

// owned is a vault that is held open.
type owned struct{ *blockstore.Owner }

func (o owned) known() service.Known { return service.Known{Path: o.Info().Path} }

func (o owned) List(context.Context) ([]service.Known, error)       { return []service.Known{o.known()}, nil }
func (o owned) Find(context.Context, string) (service.Known, error) { return o.known(), nil }
func (o owned) Read(_ context.Context, _ string, do func(*blockstore.Vault) error) error {
	return do(o.Vault)
}
func (o owned) Lasting(ctx context.Context, _ string, do func(context.Context, *blockstore.Vault) error) error {
	return do(ctx, o.Vault)
}
func (o owned) Own(_ context.Context, _ string, _ service.Purpose, do func(*blockstore.Owner) error) error {
	return do(o.Owner)
}

// packsIn counts the packs of a vault.
func (y *yard) packsIn() int {
	names, _ := filepath.Glob(filepath.Join(y.vault, "packs", "*", "*", "*"))
	return len(names)
}

// TestASweepThatAScheduleStartedWaitsInItsMiddleWhileABackupRuns has a job run that is none of the vault's, until
// the sweep says that it gives way.
func TestASweepThatAScheduleStartedWaitsInItsMiddleWhileABackupRuns(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	var st syscall.Statfs_t
	if err := syscall.Statfs(y.dir, &st); err != nil || st.Bavail < st.Blocks/32 {
		t.Skip("too little is free where the test's vault lies for a sweep to give way")
	}
	owner, err := blockstore.Own(t.Context(), y.vault, blockstore.OwnOptions{MinFree: -1}) // as a daemon does
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := owner.Close(); err != nil {
			t.Error(err)
		}
	})
	y.Service = service.New(service.Options{Vaults: owned{owner}, Jobs: y.table, Tool: "test"})
	p := y.backup()
	y.write(2)
	y.backup()
	if _, err := y.ChangePoints(t.Context(), y.vault, api.PointsRequest{Change: api.DeletePoint, Points: []api.PointRef{{Machine: "web1", Point: p.ID}}}); err != nil {
		t.Fatal(err)
	}
	y.run(api.JobRequest{Kind: api.JobEmptyTrash}, nil)
	y.write(3)
	y.backup()
	before := y.packsIn()
	running, over := make(chan struct{}), make(chan struct{})
	other, err := y.table.Start(jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup}, Do: func(context.Context, *jobs.Report) (any, error) {
		close(running)
		<-over
		return nil, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-running
	low, err := y.StartAs(t.Context(), api.JobRequest{Kind: api.JobSweep, Sweep: &api.SweepOptions{Now: true, Full: true}}, service.How{By: "the schedule", Low: true})
	if err != nil {
		t.Fatal(err)
	}
	gave := false
	err = y.Follow(t.Context(), low.ID, func(e api.JobEvent) error {
		if e.Job.Phase == "gives way" && !gave {
			gave = true
			if n := y.packsIn(); n != before {
				t.Errorf("%d packs were there, and %d are while the backup runs", before, n)
			}
			close(over)
		}
		low = e.Job
		return nil
	})
	if !gave {
		close(over)
	}
	if err != nil || !gave || low.State != api.JobCompleted {
		t.Errorf("it gave way: %v; %+v, %v", gave, low, err)
	}
	if j, err := y.Job(t.Context(), other.ID); err != nil || j.State != api.JobCompleted {
		t.Errorf("%+v, %v", j, err)
	}
	y.run(api.JobRequest{Kind: api.JobCheck, Check: &api.CheckOptions{Data: true, ReadOnly: true}}, nil)
}
