package jobs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/jobs"
)

const childDir = "HOLDFAST_TEST_JOBS_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		writeUntilKilled(dir)
	}
	os.Exit(m.Run())
}

// writeUntilKilled starts jobs that end and jobs that do not, and names each that was started.
func writeUntilKilled(dir string) {
	table, err := jobs.Open(jobs.Options{Dir: dir, Running: 4})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		j, err := table.Start(jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Machine: fmt.Sprint("m", i)}, Do: func(_ context.Context, r *jobs.Report) (any, error) {
			for range 2 {
				r.Warn(strings.Repeat("w", 500))
			}
			return strings.Repeat("r", 50_000), nil
		}})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(j.ID)
	}
}

func TestAKillInTheMiddleOfWritingLosesNoJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	said := map[string]bool{}
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		pipe, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			var id string
			if _, err := fmt.Fscanln(pipe, &id); err != nil || !strings.HasPrefix(id, "j") {
				t.Fatalf("%q, %v", id, err)
			}
			said[id] = true
		}
		cmd.Process.Kill()
		cmd.Wait()
	}
	var doubts []string
	table := open(t, jobs.Options{Dir: dir, Warn: func(s string) { doubts = append(doubts, s) }})
	if len(doubts) > 0 {
		t.Errorf("files cannot be read: %v", doubts)
	}
	for id := range said {
		j, err := table.Job(id)
		if err != nil || !j.Over() {
			t.Errorf("job %s is %q: %v", id, j.State, err)
			continue
		}
		if j.State != api.JobInterrupted && len(j.Result) < 50_000 {
			t.Errorf("job %s is %s with a result of %d bytes", id, j.State, len(j.Result))
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".begun-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

func TestADamagedFileOfAJobHarmsNoOther(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table := open(t, jobs.Options{Dir: dir})
	var ids []string
	for _, name := range []string{"a", "b", "c", "d", "e", "good"} {
		j := start(t, table, name, func(context.Context, *jobs.Report) (any, error) { return name, nil })
		end(t, table, j.ID)
		ids = append(ids, j.ID)
	}
	if err := table.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spoil := func(id, text string) {
		if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spoil(ids[0], "")
	spoil(ids[1], `{"version":1,"job":{"id":"`)
	spoil(ids[2], `{"version":7}`)
	spoil(ids[3], `{"version":1,"job":{"id":"`+ids[5]+`","state":"running"}}`)
	spoil(ids[4]+".more", `[`)
	for _, name := range []string{"x.json", "j.json", "README", ids[5] + "0.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var doubts []string
	again := open(t, jobs.Options{Dir: dir, Warn: func(s string) { doubts = append(doubts, s) }})
	if len(doubts) != 4 {
		t.Errorf("doubts are %q", doubts)
	}
	if j, err := again.Job(ids[5]); err != nil || string(j.Result) != `"good"` {
		t.Errorf("the good job is %+v, %v", j, err)
	}
	if _, err := again.Job(ids[4]); err == nil {
		t.Error("a result that cannot be read is not said")
	}
	if n := len(again.Jobs(api.JobQuery{})); n != 2 {
		t.Errorf("%d jobs are listed", n)
	}
}

func TestAThousandJobsRunAndTheHistoryIsBounded(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "holdfast-jobs-") // each of them waits for the disk
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	now := time.Now()
	table := open(t, jobs.Options{Dir: dir, Running: 8, Count: 300, Clock: func() time.Time { return now }})
	var last string
	for i := range 1000 {
		last = startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Vault: "v", Machine: fmt.Sprint("m", i)}, Do: nothing}).ID
	}
	for _, j := range table.Unfinished("") {
		end(t, table, j.ID)
	}
	end(t, table, last)
	if n := len(table.Jobs(api.JobQuery{Limit: 5000})); n < 300 || n > 360 {
		t.Errorf("%d jobs are kept", n)
	}
	if n := len(table.Jobs(api.JobQuery{})); n != 100 {
		t.Errorf("%d are listed", n)
	}
	if err := table.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := open(t, jobs.Options{Dir: dir, Count: 300, Clock: func() time.Time { return now }})
	if n := len(again.Jobs(api.JobQuery{Limit: 5000})); n != 300 {
		t.Errorf("%d jobs are kept after a restart", n)
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	later := open(t, jobs.Options{Dir: dir, Age: time.Hour, Clock: func() time.Time { return now.Add(2 * time.Hour) }})
	if n := len(later.Jobs(api.JobQuery{})); n != 0 {
		t.Errorf("%d old jobs are kept", n)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "j*")); len(files) > 0 {
		t.Errorf("%d files are left", len(files))
	}
}

func TestWhatIsAskedForIsChosen(t *testing.T) {
	t.Parallel()
	table := open(t, jobs.Options{})
	a := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobBackup, Vault: "v", Machine: "web1", Backup: &api.BackupOptions{Scan: true}}, Do: nothing})
	b := startSpec(t, table, jobs.Spec{Request: api.JobRequest{Kind: api.JobSweep, Vault: "w"}, Do: nothing})
	end(t, table, a.ID)
	end(t, table, b.ID)
	for _, c := range []struct {
		q    api.JobQuery
		want []string
	}{
		{api.JobQuery{}, []string{b.ID, a.ID}}, {api.JobQuery{Vault: "v"}, []string{a.ID}}, {api.JobQuery{Kind: api.JobSweep}, []string{b.ID}},
		{api.JobQuery{Machine: "web1", State: api.JobCompleted}, []string{a.ID}}, {api.JobQuery{State: api.JobFailed}, nil}, {api.JobQuery{Limit: 1}, []string{b.ID}},
	} {
		var got []string
		for _, j := range table.Jobs(c.q) {
			got = append(got, j.ID)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
	r, err := table.Request(a.ID)
	if err != nil || r.Backup == nil || !r.Backup.Scan {
		t.Errorf("it was asked for as %+v, %v", r, err)
	}
}

func FuzzAFileOfAJobIsReadOrSetAside(f *testing.F) {
	const id = "j0123456789abcdef"
	good, err := json.Marshal(map[string]any{"version": 1, "job": api.Job{ID: id, State: api.JobRunning}, "request": api.JobRequest{Kind: "backup"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"job":{"id":"` + id + `","state":"x","warnings":null,"started":"2026-11-22T22:00:05Z"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, id+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := jobs.Open(jobs.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range table.Jobs(api.JobQuery{}) {
			if !j.Over() {
				t.Errorf("a job of a process that ended is %q", j.State)
			}
		}
		if err := table.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
