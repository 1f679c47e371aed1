package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-backup/holdfast/daemon/api"
	"github.com/holdfast-backup/holdfast/daemon/smallfile"
)

// store keeps jobs in a folder. Methods about different jobs may be called at once.
type store struct {
	dir  string
	lock *os.File // nil: it is only read
	// replace writes a file; a field, so that a test can fail.
	replace func(path string, b []byte, durable bool) error
}

// record is what ID.json holds; of the job, log and result lie in ID.more.json.
type record struct {
	Version int            `json:"version"`
	Job     api.Job        `json:"job"`
	Request api.JobRequest `json:"request"`
}

// more is what ID.more.json holds.
type more struct {
	Log    []api.LogLine   `json:"log"`
	Result json.RawMessage `json:"result,omitempty"`
}

const (
	version  = 1
	lockName = "LOCK"
	tryName  = "TRY"  // of a file that says nothing
	aside    = ".bad" // ends the name of one that cannot be read
	maxFile  = 64 << 20
)

var jobID = regexp.MustCompile(`^j[0-9a-f]{16}$`)

// ErrBusy reports a folder that is the table of another process.
var ErrBusy = errors.New("another process keeps its jobs there")

func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return &store{dir, lock, func(path string, b []byte, durable bool) error {
		how := smallfile.Lightly // what is not over is replaced soon
		if durable {
			how = smallfile.Durably
		}
		return smallfile.Replace(path, b, 0o600, how)
	}}, nil
}

// close lets another process have the folder. The lock is ended by name: a child that is being started
// may share the file for a moment.
func (s *store) close() error {
	return errors.Join(syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN), s.lock.Close())
}

func (s *store) path(id string) string { return filepath.Join(s.dir, id+".json") }
func (s *store) rest(id string) string { return filepath.Join(s.dir, id+".more.json") }

// save writes a job's files, first what the other refers to.
func (s *store) save(r *record) error {
	head := *r
	head.Version = version
	if r.Job.Over() && (len(r.Job.Log) > 0 || len(r.Job.Result) > 0) {
		b, err := json.Marshal(more{r.Job.Log, r.Job.Result})
		if err == nil {
			err = s.replace(s.rest(r.Job.ID), b, true)
		}
		if err != nil {
			return err
		}
	}
	head.Job.Log, head.Job.Result = nil, nil
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	return s.replace(s.path(r.Job.ID), b, r.Job.Over())
}

// tryWriting tells whether files can be written, by one of the size that a job's are.
func (s *store) tryWriting() error {
	path := filepath.Join(s.dir, tryName)
	err := s.replace(path, make([]byte, 4096), true)
	if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

func (s *store) remove(id string) error {
	err := os.Remove(s.path(id)) // what is left without it is removed by the next start
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if e := os.Remove(s.rest(id)); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// all reads all jobs. Where the store is not only read, files that cannot be read are set aside, and what
// writing left is removed. doubts say what is wrong.
func (s *store) all() (records []*record, doubts []string, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	for _, e := range entries {
		name := e.Name()
		id, isJob := strings.CutSuffix(name, ".json")
		of, isMore := strings.CutSuffix(id, ".more")
		switch {
		case smallfile.Begun(name), isMore && !names[of+".json"]:
			s.tidy(name)
		case isJob && !isMore && jobID.MatchString(id):
			r, err := s.load(id)
			if err == nil {
				records = append(records, r)
				continue
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			doubts = append(doubts, fmt.Sprintf("job %s cannot be read and is set aside: %v", id, err))
			s.setAside(name)
		}
	}
	slices.SortFunc(records, func(a, b *record) int { return strings.Compare(a.Job.ID, b.Job.ID) })
	return records, doubts, nil
}

func (s *store) tidy(name string) {
	if s.lock != nil {
		os.Remove(filepath.Join(s.dir, name))
	}
}

func (s *store) setAside(name string) {
	if path := filepath.Join(s.dir, name); s.lock != nil {
		os.Rename(path, path+aside)
	}
}

// load reads a job without its log and result.
func (s *store) load(id string) (*record, error) {
	b, err := smallfile.Read(s.path(id), maxFile)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	switch {
	case r.Version != version:
		return nil, fmt.Errorf("it is of version %d, and this program knows %d", r.Version, version)
	case r.Job.ID != id:
		return nil, fmt.Errorf("it is about job %.40q", r.Job.ID)
	case r.Job.State == "":
		return nil, errors.New("it has no state")
	}
	if r.Job.Warnings == nil {
		r.Job.Warnings = []string{}
	}
	if r.Job.Notes == nil {
		r.Job.Notes = []string{}
	}
	return r, nil
}

// full adds the log and the result to a job that is over.
func (s *store) full(j api.Job) (api.Job, error) {
	b, err := smallfile.Read(s.rest(j.ID), maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	var m more
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		return j, fmt.Errorf("log and result of job %s: %w", j.ID, err)
	}
	j.Log, j.Result = m.Log, m.Result
	return j, nil
}
