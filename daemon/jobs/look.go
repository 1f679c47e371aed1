package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-backup/holdfast/daemon/api"
)

// Look reads the jobs that lie in the folder of a table, whosever it is, and changes nothing; the newest
// come first, and what cannot be read is said. Without a process whose table it is, what had not
// ended is interrupted.
func Look(dir string, q api.JobQuery) (all []api.Job, doubts []string, err error) {
	s := &store{dir: dir}
	records, doubts, err := s.all()
	if errors.Is(err, fs.ErrNotExist) {
		return []api.Job{}, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the table of jobs: %w", err)
	}
	alive := inUse(dir)
	all = []api.Job{}
	for _, r := range slices.Backward(records) {
		r.settle(alive)
		if len(all) < limitOf(q) && fits(&r.Job, q) {
			all = append(all, r.Job)
		}
	}
	return all, doubts, nil
}

// Newest returns the ids of at most so many jobs that lie in the folder of a table, newest first. It reads names
// alone, and no more of what is there: what cannot be listed is none.
func Newest(dir string, most int) (ids []string) {
	entries, _ := os.ReadDir(dir) // by name, and so by time
	for _, e := range slices.Backward(entries) {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && jobID.MatchString(id) && len(ids) < most {
			ids = append(ids, id)
		}
	}
	return ids
}

// LookAt reads one job that lies in the folder of a table, as [Look] does, with its log and result.
func LookAt(dir, id string) (api.Job, error) {
	s := &store{dir: dir}
	missing := fmt.Errorf("job %.40s: %w", id, ErrNotFound)
	if !jobID.MatchString(id) {
		return api.Job{}, missing
	}
	r, err := s.load(id)
	if errors.Is(err, fs.ErrNotExist) {
		return api.Job{}, missing
	}
	if err != nil {
		return api.Job{}, fmt.Errorf("job %s: %w", id, err)
	}
	r.settle(inUse(dir))
	return s.full(r.Job)
}

// settle makes of a job that has not ended, and of which nobody is left, an interrupted one.
func (r *record) settle(alive bool) {
	if !r.Job.Over() && !alive {
		r.interrupt(time.Now())
		r.Job.Ended = nil // nobody knows
	}
}

// inUse tells whether a process uses the folder as its table.
func inUse(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}
