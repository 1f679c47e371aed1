package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

func TestAJobThatWaitsSaysForWhat(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{Running: 2})
	body, began, release := held()
	web1 := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: "web1"}, Alone: []string{"web1"}, Do: body})
	<-began
	same := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: "web1"}, Alone: []string{"web1"}, Do: nothing})
	other, began2, release2 := held()
	db := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: "db"}, Alone: []string{"db"}, Do: other})
	<-began2
	third := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: "mail"}, Do: nothing})
	sweep := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobSweep}, Low: true, Do: nothing})
	for id, want := range map[string]string{same.ID: "job " + web1.ID + " (backup web1) runs", third.ID: web1.ID + ", " + db.ID, sweep.ID: "other jobs go first"} {
		if j, err := table.Job(id); err != nil || !strings.Contains(j.WaitsFor, want) {
			t.Errorf("job %s waits for %q, %v, want %q", id, j.WaitsFor, err, want)
		}
	}
	close(release)
	close(release2)
	for _, j := range []api.Job{web1, db, same, third, sweep} {
		if last := end(t, table, j.ID); last.WaitsFor != "" {
			t.Errorf("when it was over it waited for %q", last.WaitsFor)
		}
	}
}

func TestAJobThatMayNotWaitIsCancelledAndSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	var why []error
	table, err := jobs.Open(jobs.Options{Running: 1, Explain: func(err error) *api.Problem {
		why = append(why, err)
		return &api.Problem{Detail: err.Error(), Exit: 5}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close(t.Context())
	body, began, release := held()
	long := start(t, table, "a", body)
	<-began
	for _, patience := range []time.Duration{-1, time.Millisecond} {
		j := startSpec(t, table, jobs.Spec{Patience: patience, Do: nothing})
		if last := end(t, table, j.ID); last.State != api.JobCancelled || !strings.Contains(last.Error.Detail, long.ID) || last.Started != nil {
			t.Errorf("patience %v: it is %+v", patience, last)
		}
		var wait *jobs.WaitError
		if len(why) == 0 || !errors.As(why[len(why)-1], &wait) {
			t.Errorf("patience %v: %v", patience, why)
		}
	}
	patient := startSpec(t, table, jobs.Spec{Patience: time.Hour, Do: nothing})
	close(release)
	if last := end(t, table, patient.ID); last.State != api.JobCompleted {
		t.Errorf("what could wait is %+v", last)
	}
}

func TestWhoHeardOfAnEndFindsThePlaceFree(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{Dir: t.TempDir(), Running: 1})
	for range 50 {
		j := startSpec(t, table, jobs.Spec{Alone: []string{"a"}, Patience: -1, Do: nothing})
		if last := end(t, table, j.ID); last.State != api.JobCompleted {
			t.Fatalf("it is %+v", last)
		}
	}
}

func TestHowFarAJobCameIsKnownAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := open(t, jobs.Options{Dir: dir, Progress: time.Millisecond})
	body := make(chan struct{})
	j := start(t, table, "a", func(_ context.Context, r *jobs.Report) (any, error) {
		r.Progress(jobs.Progress{Done: 7, Total: 10, Unit: "bytes", Read: 7, Changed: 6, Stored: 5})
		<-body
		return nil, nil
	})
	// What a kill leaves is what the file says by then.
	file := filepath.Join(dir, j.ID+".json")
	for {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), `"read":7`) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	killed := t.TempDir()
	if err := os.WriteFile(filepath.Join(killed, j.ID+".json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := open(t, jobs.Options{Dir: killed}).Job(j.ID)
	if err != nil || after.State != api.JobInterrupted || after.Read != 7 || after.Stored != 5 || after.Done != 7 {
		t.Errorf("after the kill it is %+v, %v", after, err)
	}
	close(body)
	end(t, table, j.ID)
	if err := table.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kept struct{ Job api.Job }
	if b, err = os.ReadFile(file); err != nil || json.Unmarshal(b, &kept) != nil || kept.Job.State != api.JobCompleted {
		t.Errorf("at its end it is kept as %s, %v", b, err)
	}
}
