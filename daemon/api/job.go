package api

import "encoding/json"

// Kinds of jobs. Each has its options in JobRequest and its result, both named
// after it.
const (
	JobBackup     = "backup"      // result: Backup
	JobPrune      = "prune"       // result: []Prune
	JobSweep      = "sweep"       // result: Sweep
	JobCheck      = "check"       // result: Check
	JobEmptyTrash = "empty-trash" // result: Sweep
	JobRestore    = "restore"     // result: Restore
	JobCatalogue  = "catalogue"   // result: CatalogueRun
)

// States of a job. The last five are final.
const (
	JobQueued      = "queued"
	JobRunning     = "running"
	JobCompleted   = "completed"
	JobWarnings    = "completed with warnings"
	JobFailed      = "failed"
	JobCancelled   = "cancelled"
	JobInterrupted = "interrupted" // the daemon ended before it did
)

// Job is one run of something that takes its time.
type Job struct {
	ID      string `json:"id"` // begins with j
	Kind    string `json:"kind"`
	Vault   string `json:"vault"` // its id
	Machine string `json:"machine,omitempty"`
	State   string `json:"state"`
	Phase   string `json:"phase,omitempty"` // what it does now
	// WaitsFor is why a job that is queued does not begin, in words; "" of any other.
	WaitsFor string `json:"waits_for,omitempty"`
	Done     int64  `json:"done"`           // of Total, in Unit
	Total    int64  `json:"total"`          // 0: not known
	Unit     string `json:"unit,omitempty"` // bytes, or what is counted

	Queued  Time  `json:"queued"`
	Started *Time `json:"started,omitempty"`
	Ended   *Time `json:"ended,omitempty"`
	Due     *Time `json:"due,omitempty"` // when a schedule wanted it

	By      string `json:"by"` // who asked: a user, a token, or "policy NAME"
	Policy  string `json:"policy,omitempty"`
	Attempt int    `json:"attempt"`            // counts from 1
	RetryOf string `json:"retry_of,omitempty"` // id of the job before

	Read    int64 `json:"read"` // bytes so far
	Changed int64 `json:"changed"`
	Stored  int64 `json:"stored"`
	Rate    int64 `json:"rate"` // bytes a second, while it runs of late, then of all of it

	Warnings []string        `json:"warnings"`
	Notes    []string        `json:"notes"`
	Error    *Problem        `json:"error,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"` // of its kind; also of some that failed on their way
	Log      []LogLine       `json:"log,omitempty"`    // only where one job is shown
}

// Over tells whether the job's state is final.
func (j *Job) Over() bool { return j.State != JobQueued && j.State != JobRunning }

// LogLine is something that happened in a job.
type LogLine struct {
	Time  Time   `json:"time"`
	Level string `json:"level"` // info, warn or error
	Text  string `json:"text"`
}

// JobEvent tells how a job stands, whenever that changed.
type JobEvent struct {
	Job Job      `json:"job"` // without its log
	Log *LogLine `json:"log,omitempty"`
}

// JobRequest asks for a job. Only the options of its kind are set; none: the usual ones.
type JobRequest struct {
	Kind       string             `json:"kind"`
	Vault      string             `json:"vault"`
	Machine    string             `json:"machine,omitempty"`
	Backup     *BackupOptions     `json:"backup,omitempty"`
	Prune      *PruneOptions      `json:"prune,omitempty"`
	Sweep      *SweepOptions      `json:"sweep,omitempty"`
	Check      *CheckOptions      `json:"check,omitempty"`
	EmptyTrash *EmptyTrashOptions `json:"empty_trash,omitempty"`
	Restore    *RestoreJobOptions `json:"restore,omitempty"`
	Catalogue  *CatalogueOptions  `json:"catalogue,omitempty"`

	handed *Handed // open files that come with it, see BackupOptions.Open
	// MaxWait is how long the job may wait for its turn, after which it is cancelled; 0: it begins at
	// once, or not at all; nil: without end.
	MaxWait *int64 `json:"max_wait_seconds,omitempty"`
}

// BackupOptions say how one backup is made.
type BackupOptions struct {
	// Disks, each NAME=IMAGE[,format=qcow2][,backing=DIR] with absolute paths, are
	// those of a machine that is off; none: the machine is a protected one. Only who
	// has the daemon's own rights may name them without Open.
	Disks []string `json:"disks,omitempty"`
	// Open says which disk each of the open files belongs to that come with the request
	// (see [Handed]): its name, for the image first and then for its backing files, each after the one
	// that names it. Paths are then only what the images are called. None: no file comes.
	Open           []string `json:"open,omitempty"`
	AllowInUse     bool     `json:"allow_in_use,omitempty"`
	SkipUnchanged  bool     `json:"skip_unchanged,omitempty"`
	Scan           bool     `json:"scan,omitempty"`
	IncludeSecrets bool     `json:"include_secrets,omitempty"`
	Scratch        Scratch  `json:"scratch,omitzero"`
	Rate           int64    `json:"rate,omitempty"`                 // bytes a second that are read at most; 0: no limit
	WriteRate      int64    `json:"write_rate,omitempty"`           // bytes a second that are added to the vault at most; 0: no limit
	MaxDuration    int64    `json:"max_duration_seconds,omitempty"` // 0: without end
}

// Scratch says where what guests overwrite during a backup is kept; the zero value: as usual.
type Scratch struct {
	Folder   string `json:"folder,omitempty"`
	Cap      int64  `json:"cap,omitempty"`       // bytes
	LowWater int64  `json:"low_water,omitempty"` // bytes that stay free
}

// PruneOptions say which machines are pruned, and with what care.
type PruneOptions struct {
	Machines []string `json:"machines,omitempty"` // none: all
	Confirm  bool     `json:"confirm,omitempty"`
}

// SweepOptions say how a sweep is done.
type SweepOptions struct {
	DryRun bool `json:"dry_run,omitempty"`
	Now    bool `json:"now,omitempty"`
	Full   bool `json:"full,omitempty"`
}

// CheckOptions say what is checked.
type CheckOptions struct {
	Data     bool    `json:"data,omitempty"`
	Point    string  `json:"point,omitempty"` // of the request's machine; empty: all
	Percent  float64 `json:"percent,omitempty"`
	Rate     int64   `json:"rate,omitempty"` // bytes a second
	ReadOnly bool    `json:"read_only,omitempty"`
}

// EmptyTrashOptions say what leaves the trash before its time.
type EmptyTrashOptions struct {
	Points []PointRef `json:"points,omitempty"` // none: all
	DryRun bool       `json:"dry_run,omitempty"`
}

// RestoreJobOptions say what is restored where, by the daemon.
type RestoreJobOptions struct {
	Point  string   `json:"point"`           // of the request's machine
	Disks  []string `json:"disks,omitempty"` // none: all
	Folder string   `json:"folder"`          // below one that the daemon's configuration allows
	Format string   `json:"format,omitempty"`
}

// PointRef names a recovery point: by id or name of its machine, and by id, time or "latest".
type PointRef struct {
	Machine string `json:"machine"`
	Point   string `json:"point"`
}

// JobQuery chooses jobs; the zero value: all, newest first.
type JobQuery struct {
	Vault   string `json:"vault,omitempty"`
	Machine string `json:"machine,omitempty"`
	Kind    string `json:"kind,omitempty"`
	State   string `json:"state,omitempty"`
	Since   *Time  `json:"since,omitempty"`
	Limit   int    `json:"limit,omitempty"` // 0: 100
}
