package jobs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

// TestAnEndThatCouldNotBeWrittenIsKeptWhenItCan takes the folder of a table away while a job ends, as a disk without
// room does.
func TestAnEndThatCouldNotBeWrittenIsKeptWhenItCan(t *testing.T) {
	t.Parallel()
	for name, atClose := range map[string]bool{"soon": false, "when the table is closed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "jobs")
			every := time.Millisecond
			if atClose {
				every = time.Hour
			}
			table := open(t, jobs.Options{Dir: dir, Progress: every})
			body, began, release := held()
			j := start(t, table, "a", body)
			<-began
			if err := os.Rename(dir, dir+".away"); err != nil {
				t.Fatal(err)
			}
			close(release)
			if e := end(t, table, j.ID); e.State != api.JobCompleted {
				t.Errorf("it ended as %+v", e)
			}
			if again, err := table.Job(j.ID); err != nil || again.State != api.JobCompleted {
				t.Errorf("afterwards it is %+v, %v", again, err)
			}
			if _, err := table.Start(jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup}, Do: nothing}); err == nil || table.Trouble() == nil {
				t.Errorf("one that cannot be kept begins: %v", err)
			}
			if err := os.Rename(dir+".away", dir); err != nil {
				t.Fatal(err)
			}
			for !atClose && (stateIn(t, dir, j.ID) != api.JobCompleted || table.Trouble() != nil) {
				if t.Context().Err() != nil {
					t.Fatal("it is never kept")
				}
				time.Sleep(time.Millisecond)
			}
			if err := table.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if state := stateIn(t, dir, j.ID); state != api.JobCompleted {
				t.Errorf("it is kept as %s", state)
			}
		})
	}
}

// stateIn is what the file of a job says of it.
func stateIn(t *testing.T, dir, id string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, id+".json"))
	var kept struct{ Job api.Job }
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil {
		t.Fatal(err)
	}
	return kept.Job.State
}
